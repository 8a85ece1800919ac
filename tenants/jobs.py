"""Jobs of one organisation: they name it, and refuse to run when it is missing, suspended or without a schema."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django_tenants.utils import schema_exists

from core.errors import NotFoundError
from core.jobs import task
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant


def tenant_task(name: str, **options: Any) -> Callable[[Callable[..., None]], Any]:
    """Register a job that runs inside the organisation given by its argument `tenant_id`, and never in `public`."""

    def decorate(function: Callable[..., None]) -> Any:
        @task(name, **options)
        @functools.wraps(function)
        def run(*, tenant_id: str, **arguments: Any) -> None:
            with tenant_scope(live_tenant(tenant_id)) as tenant:
                function(tenant, **arguments)

        return run

    return decorate


def live_tenant(tenant_id: str) -> Tenant:
    """Raises NotFoundError for whatever is not the id of an organisation that work may be done for."""
    with platform_scope():
        tenant = Tenant.objects.filter(pk=tenant_id, suspended_at=None).first() if _is_uuid(tenant_id) else None
        if tenant is None or not schema_exists(tenant.schema_name):
            raise NotFoundError("The organisation of this job is gone or suspended.", code="tenants.job_refused")
        return tenant


def each_tenant() -> list[Tenant]:
    """Every organisation that work may be done for."""
    with platform_scope():
        return list(Tenant.objects.filter(suspended_at=None).order_by("schema_name"))


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except (ValueError, TypeError, AttributeError):
        return False
    return True
