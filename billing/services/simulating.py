"""What a price would have earned on the calls of last month: sums over all customers, and only where there are several."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.core.cache import cache

from billing.core import rating
from billing.core.shares import muldiv
from billing.models import PriceVersion
from billing.selectors import agreements, prices
from calls.selectors import usage
from catalog.models import Server
from core import clock
from core.money import Money
from tenants.context import platform_scope, tenant_scope
from tenants.jobs import each_tenant

_KEPT_S = 900


@dataclass(frozen=True, slots=True)
class Simulation:
    """Sums in minor units; None where there were too few customers to show any."""

    month: str
    customers_min: int
    is_shown: bool
    calls: int = 0
    before: Money | None = None
    after: Money | None = None
    kept: Money | None = None  # the provider's share of `after`


def simulate(server: Server, model: rating.PriceModel, tool: str, currency: str = "USD") -> Simulation:
    """Compare what last month would have cost its callers at present prices and with `model` for a tool or the server.

    Prices agreed with single organisations are left out, and so are the owner's own calls, which are free.
    """
    start, end = last_month(clock.now())
    least = settings.BILLING_SIMULATION_CUSTOMERS_MIN
    used = _used(server, start, end)
    if len(used) < least:
        return Simulation(f"{start:%B %Y}", least, is_shown=False)
    public = prices.current_prices([server.pk]).get(server.pk, {})
    present = {name: price.terms for name, price in public.items()}
    before = _total(used, present, currency)
    after = _total(used, {**present, tool: model}, currency)
    with platform_scope():
        _, bps = agreements.in_force(server.provider_id, clock.now())
    count = sum((sum(tools.values(), Decimal(0)) for tools in used), Decimal(0))
    kept = Money(muldiv(after.minor, bps, 10_000), currency)
    return Simulation(f"{start:%B %Y}", least, True, int(count), before, after, kept)


def last_month(moment: datetime) -> tuple[datetime, datetime]:
    end = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (end - timedelta(days=1)).replace(day=1), end


def _used(server: Server, start: datetime, end: datetime) -> list[dict[str, Decimal]]:
    """Units by tool of each organisation that called, without saying which it is. Kept for a while.

    Days are summed up every hour, so that what it reads grows with tools, keys and days and not with calls.
    """
    key = f"billing.used:{server.pk}:{start:%Y-%m}"
    found: list[dict[str, Decimal]] | None = cache.get(key)
    if found is None:
        found = []
        for tenant in each_tenant():
            if tenant.pk == server.owner_tenant_id:
                continue
            with tenant_scope(tenant):
                tools = usage.units_of_server(server.pk, start.date(), (end - timedelta(days=1)).date())
            if tools:
                found.append(tools)
        cache.set(key, found, _KEPT_S)
    return found


def _total(used: list[dict[str, Decimal]], models: dict[str, rating.PriceModel], currency: str) -> Money:
    """Each organisation's line of each tool is rounded on its own, as on its invoice."""
    total = Money(0, currency)
    for tools in used:
        for name, units in tools.items():
            model = models.get(name) or models.get("")
            if model is not None:
                total += Money.from_rate(rating.rate(model, units), currency)
    return total


def sample(price: PriceVersion | None, model: rating.PriceModel) -> list[tuple[str, Decimal, Decimal]]:
    """What so many calls in a month cost now and with a model: the table beside the editor."""
    present = price.terms if price is not None else rating.per_unit(Decimal(0))
    return [(f"{units:,}", rating.rate(present, units), rating.rate(model, units)) for units in SAMPLES]


SAMPLES = (1, 100, 1_000, 10_000, 100_000)
