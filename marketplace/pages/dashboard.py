"""What the first page of the operators' admin says beside its lists."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from catalog.selectors import waiting as catalog
from tenants.models import Tenant, User


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Called by the admin's theme with the context of its first page."""
    return context | {
        "waiting": [
            _tile(catalog.count_submitted(), "servers wait for approval", "catalog_server", "?status__exact=submitted"),
            _tile(Tenant.objects.filter(suspended_at=None).count(), "organisations", "tenants_tenant"),
            _tile(User.objects.filter(is_active=True).count(), "people", "tenants_user", "?is_active__exact=1"),
        ]
    }


def _tile(count: int, label: str, model: str, query: str = "") -> dict[str, Any]:
    return {"count": count, "label": label, "url": reverse(f"admin:{model}_changelist") + query}
