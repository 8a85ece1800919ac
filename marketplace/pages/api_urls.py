"""The REST API, `/api/v1/…`, composed of the apps' parts."""

from django.urls import include, path

from marketplace.pages import api_schema  # noqa: F401 - the document's description of keys registers itself
from marketplace.pages.approvals_api import CallApprovalAPI, CallApprovalListAPI
from marketplace.pages.audit_api import AuditCheckpointAPI, AuditExportAPI
from marketplace.pages.budgets_api import BudgetAPI, BudgetListAPI

app_name = "api"
urlpatterns = [
    path("", include("catalog.api.urls")),
    path("", include("calls.api.urls")),
    path("", include("access.api.urls")),
    path("", include("tenants.api.urls")),
    path("billing/", include("billing.api.urls")),
    path("billing/budgets/", BudgetListAPI.as_view(), name="billing-budgets"),
    path("billing/budgets/<uuid:limit_id>/", BudgetAPI.as_view(), name="billing-budget"),
    path("call-approvals/", CallApprovalListAPI.as_view(), name="call-approvals"),
    path("call-approvals/<uuid:approval_id>/", CallApprovalAPI.as_view(), name="call-approval"),
    path("audit/export/", AuditExportAPI.as_view(), name="audit-export"),
    path("audit/checkpoint/", AuditCheckpointAPI.as_view(), name="audit-checkpoint"),
]
