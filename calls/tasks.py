from __future__ import annotations

from calls import partitions
from core.jobs import task
from tenants.jobs import each_tenant


@task("calls.make_partitions")
def make_partitions() -> None:
    """Make the month partitions ahead, for every organisation."""
    for tenant in each_tenant():
        partitions.ensure(tenant.schema_name)
