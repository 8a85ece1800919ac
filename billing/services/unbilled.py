"""What providers have earned that no invoice says yet: rated by the code of invoices, summed over all customers.

Counting reads the log of every organisation, so a job does it and pages read what it found last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.core.cache import cache

from billing.core.rated import RatedLine
from billing.services import rating
from calls.models import Period, PeriodState
from catalog.models import Provider
from core import clock
from core.money import Money
from tenants.context import platform_scope, tenant_scope
from tenants.jobs import each_tenant
from tenants.models import Tenant

# Some runs of the job may be missed before nothing is shown.
_KEPT_S = 6 * 3600


@dataclass(frozen=True, slots=True)
class Unbilled:
    """A provider's share of calls that were not billed at that moment."""

    share: Money
    at: datetime


def count() -> None:
    """Count for every provider. Calls of its own organisation earn it nothing."""
    now, shares = clock.now(), defaultdict[UUID, int](int)
    with platform_scope():
        owners = dict(Provider.objects.values_list("pk", "tenant_id"))
    for tenant in each_tenant():
        for line in lines(tenant):
            if line.provider_id is not None and owners.get(line.provider_id) != tenant.pk:
                shares[line.provider_id] += line.provider_minor
    cache.set_many({_key(each): (shares[each], now) for each in owners}, _KEPT_S)


def of_provider(provider: Provider) -> Unbilled | None:
    """What was counted last; None when it was not counted lately."""
    found: tuple[int, datetime] | None = cache.get(_key(provider.pk))
    return None if found is None else Unbilled(Money(found[0], settings.BILLING_CURRENCY), found[1])


def lines(tenant: Tenant) -> Iterator[RatedLine]:
    """Of every month that has no invoice yet."""
    with tenant_scope(tenant):
        periods = list(Period.objects.exclude(state=PeriodState.INVOICED).filter(starts_at__lte=clock.now()))
    for period in periods:
        for line in rating.rate(tenant, period):
            if line.currency == settings.BILLING_CURRENCY:
                yield line


def _key(provider_id: UUID) -> str:
    return f"billing.unbilled:{provider_id}"
