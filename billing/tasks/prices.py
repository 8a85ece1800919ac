from __future__ import annotations

from uuid import UUID

from billing.services import plans, telling
from core.jobs import task
from tenants.context import platform_scope


@task("billing.tell_price", time_limit=240)
def tell_price(*, price_id: str) -> None:
    """Tell every organisation that uses a server what will cost more. Safe to run twice: nobody is told the same again."""
    telling.tell_price(UUID(price_id))


@task("billing.apply_plans", max_retries=0, time_limit=240)
def apply_plans() -> None:
    """Let plans that began or ended with time reach the gateways. Safe to run twice."""
    with platform_scope():
        plans.apply_due()
