"""The limits that an organisation's calls are held against: its own, the platform's, and those of its plan."""

from __future__ import annotations

from django.http import HttpResponse

from access.web import limits
from billing.selectors import plans
from gateway.services.plan_limits import plan_limits
from tenants.requests import OrganisationRequest


def limit_list(request: OrganisationRequest, org: str) -> HttpResponse:
    terms = plans.current(request.organisation.pk)
    return limits.limit_list(request, org, beside=plan_limits(terms) if terms is not None else ())
