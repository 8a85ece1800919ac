from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from calls import partitions
from calls.services import periods
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.signals import tenant_prepared


@receiver(tenant_prepared)
def make_ready(sender: object, tenant: Tenant, **_: Any) -> None:
    """The template's partitions may be from an earlier month than this organisation, and its periods are not copied."""
    partitions.ensure(tenant.schema_name)
    with tenant_scope(tenant):
        periods.open_ahead()
