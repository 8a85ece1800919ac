from __future__ import annotations

from billing.services import periods
from core import jobs
from core.jobs import task
from tenants.jobs import each_tenant, tenant_task
from tenants.models import Tenant


@task("billing.open_periods", max_retries=0)
def open_periods() -> None:
    """Turn the months of every organisation, by a job for each. What is due is found by state: a missed hour heals."""
    for tenant in each_tenant():
        jobs.enqueue("billing.turn_periods", tenant_id=str(tenant.pk))


@tenant_task("billing.turn_periods", time_limit=jobs.TIME_LIMIT_S_MAX)
def turn_periods(tenant: Tenant) -> None:
    """Open, close and hand on the months of one organisation. Safe to run twice."""
    periods.turn(tenant)


@task("billing.rate_days", max_retries=0)
def rate_days() -> None:
    """Count each organisation's usage by day, by a job for each."""
    for tenant in each_tenant():
        jobs.enqueue("billing.rate_tenant_days", tenant_id=str(tenant.pk))


@tenant_task("billing.rate_tenant_days", max_retries=0, time_limit=jobs.TIME_LIMIT_S_MAX)
def rate_tenant_days(tenant: Tenant) -> None:
    """Count one organisation's usage by day. Safe to run twice."""
    periods.rate_days()
