from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from calls import partitions
from tenants.models import Tenant
from tenants.signals import tenant_prepared


@receiver(tenant_prepared)
def make_partitions(sender: object, tenant: Tenant, **_: Any) -> None:
    """The template's partitions may be from an earlier month than this organisation."""
    partitions.ensure(tenant.schema_name)
