from __future__ import annotations

from calls import partitions, retention
from core import jobs
from core.jobs import task
from tenants.jobs import each_tenant, tenant_task
from tenants.models import Tenant


@task("calls.make_partitions")
def make_partitions() -> None:
    """Make the month partitions ahead, for every organisation."""
    for tenant in each_tenant():
        partitions.ensure(tenant.schema_name)


@task("calls.sweep_retention", max_retries=0, time_limit=60)
def sweep_retention() -> None:
    """Have removed what is kept long enough, by a job for each organisation."""
    for tenant in each_tenant():
        jobs.enqueue("calls.apply_retention", tenant_id=str(tenant.pk))


@tenant_task("calls.apply_retention", max_retries=0, time_limit=jobs.TIME_LIMIT_S_MAX)
def apply_retention(tenant: Tenant) -> None:
    """Remove an organisation's records whose time is over. Safe to run twice."""
    retention.apply(tenant)
