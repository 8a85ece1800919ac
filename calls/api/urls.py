from django.urls import path

from calls.api.views import CallDetailAPI, CallListAPI

urlpatterns = [
    path("calls/", CallListAPI.as_view(), name="call-list"),
    path("calls/<uuid:call_id>/", CallDetailAPI.as_view(), name="call-detail"),
]
