from django.urls import path

from tenants.api.webhooks import DeliveryAPI, DeliveryListAPI, SecretListAPI, WebhookAPI, WebhookListAPI

urlpatterns = [
    path("webhooks/", WebhookListAPI.as_view(), name="webhook-list"),
    path("webhooks/<uuid:webhook_id>/", WebhookAPI.as_view(), name="webhook-detail"),
    path("webhooks/<uuid:webhook_id>/secrets/", SecretListAPI.as_view(), name="webhook-secrets"),
    path("webhooks/<uuid:webhook_id>/deliveries/", DeliveryListAPI.as_view(), name="webhook-deliveries"),
    path("webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/", DeliveryAPI.as_view(), name="webhook-delivery"),
]
