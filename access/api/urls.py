from django.urls import path

from access.api.files import ApplyAPI, ExportAPI, PlanAPI
from access.api.requests import RequestAPI, RequestListAPI

urlpatterns = [
    path("access/export/", ExportAPI.as_view(), name="access-export"),
    path("access/plan/", PlanAPI.as_view(), name="access-plan"),
    path("access/apply/", ApplyAPI.as_view(), name="access-apply"),
    path("access-requests/", RequestListAPI.as_view(), name="access-requests"),
    path("access-requests/<uuid:request_id>/", RequestAPI.as_view(), name="access-request"),
]
