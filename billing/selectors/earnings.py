"""What a provider may know of its earnings: sums of its own lines, never whose calls they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Max, Min, QuerySet, Sum

from billing.core import postings
from billing.models import EarningRelease, InvoiceLine, InvoiceState, PayoutItem, ProviderAccount, Statement
from billing.selectors import ledger
from catalog.models import Provider
from core.money import Money
from tenants.models import Tenant

_BILLED = (InvoiceState.OPEN, InvoiceState.PAID, InvoiceState.UNCOLLECTIBLE)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a provider has, step by step, in minor units of its currency; `available` can be negative after a credit note."""

    pending: Money
    available: Money
    transit: Money
    paid: Money


@dataclass(frozen=True, slots=True)
class Earned:
    """One server in one month, as invoices billed it. `price` is what organisations pay, `share` what is the provider's."""

    month: date
    server_id: UUID | None
    server_name: str
    calls: Decimal
    customers: int
    price: Money
    share: Money
    bps_low: int
    bps_high: int

    @property
    def percent(self) -> str:
        low, high = (f"{Decimal(bps) / 100:.2f}".rstrip("0").rstrip(".") for bps in (self.bps_low, self.bps_high))
        return f"{low} %" if low == high else f"{low} to {high} %"


def provider_of(tenant: Tenant) -> Provider | None:
    """The publishing side of an organisation, if it has one."""
    return Provider.objects.select_related("tenant").filter(tenant=tenant).first()


def standing(provider: Provider, currency: str = "USD") -> Standing:
    families = (postings.PENDING, postings.AVAILABLE, postings.TRANSIT)
    held = ledger.balances(postings.of(family, provider.pk) for family in families)
    pending, available, transit = (-held[postings.of(family, provider.pk)] for family in families)
    done = PayoutItem.objects.filter(provider=provider, state=PayoutItem.State.DONE)
    paid = done.aggregate(sum=Sum("minor"))["sum"] or 0
    return Standing(*(Money(minor, currency) for minor in (pending, available, transit, paid)))


def by_server(provider: Provider, since: date | None = None) -> list[Earned]:
    """Each server in each month that was billed, newest first."""
    rows = _lines(provider)
    if since is not None:
        rows = rows.filter(origin_month__gte=since)
    sums = rows.values("origin_month", "server_id", "currency").annotate(
        name=Max("server_name"),
        calls=Sum("quantity"),
        customers=Count("invoice__tenant_id", distinct=True),
        price=Sum("minor"),
        share=Sum("provider_minor"),
        low=Min("share_bps"),
        high=Max("share_bps"),
    )
    return [_earned(row) for row in sums.order_by("-origin_month", "name")]


def customers(provider: Provider) -> int:
    """How many organisations were billed for its servers; their names are theirs."""
    return _lines(provider).values("invoice__tenant_id").distinct().count()


def account(provider: Provider) -> ProviderAccount | None:
    return ProviderAccount.objects.select_related("provider__tenant").filter(provider=provider).first()


def coming(provider: Provider, most: int = 12) -> QuerySet[EarningRelease]:
    """What will be released, and when; what is held says why."""
    return EarningRelease.objects.filter(provider=provider, released_at=None).order_by("due_at")[:most]


def payouts(provider: Provider) -> QuerySet[PayoutItem]:
    return PayoutItem.objects.select_related("batch", "statement").filter(provider=provider).order_by("-created_at")


def statement(provider: Provider, item_id: UUID) -> Statement | None:
    return Statement.objects.select_related("item__batch", "provider").filter(provider=provider, pk=item_id).first()


def summary(statement: Statement) -> list[tuple[str, Money]]:
    """How the amount of a payout comes about, in words."""
    rows = (
        ("Available before", statement.opening_minor),
        ("Shares released", statement.earned_minor),
        ("Taken back", -statement.taken_back_minor),
        ("Came back from payouts", statement.returned_minor),
        ("This payout", -statement.paid_minor),
        ("Available after", statement.closing_minor),
    )
    return [(label, Money(minor, statement.currency)) for label, minor in rows]


def _lines(provider: Provider) -> QuerySet[InvoiceLine]:
    return InvoiceLine.objects.filter(
        provider=provider, invoice__state__in=_BILLED, origin_month__isnull=False
    ).order_by()


def _earned(row: Mapping[str, Any]) -> Earned:
    return Earned(
        month=row["origin_month"],
        server_id=row["server_id"],
        server_name=row["name"],
        calls=row["calls"],
        customers=row["customers"],
        price=Money(row["price"], row["currency"]),
        share=Money(row["share"], row["currency"]),
        bps_low=row["low"] or 0,
        bps_high=row["high"] or 0,
    )
