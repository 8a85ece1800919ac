from django.urls import path

from access.api.requests import RequestAPI, RequestListAPI

urlpatterns = [
    path("access-requests/", RequestListAPI.as_view(), name="access-requests"),
    path("access-requests/<uuid:request_id>/", RequestAPI.as_view(), name="access-request"),
]
