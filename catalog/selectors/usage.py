"""How one organisation uses servers, from its own call log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncHour

from calls.models import Call
from calls.record import Outcome
from calls.selectors import Percentile
from core import clock
from core.ids import lowest_at
from tenants.context import tenant_scope
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Period:
    """Calls of one period. Latencies are None when nothing was called; `spend` is by currency."""

    calls: int
    answered: int
    denied: int
    failed: int
    median_ms: float | None
    p95_ms: float | None
    spend: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """`hours` are the last 24, oldest first: the hour and its answered, denied and failed calls."""

    day: Period
    week: Period
    hours: list[tuple[datetime, tuple[int, int, int]]]


_COUNTS = {
    "answered": Count("pk", filter=Q(outcome=Outcome.OK)),
    "denied": Count("pk", filter=Q(outcome=Outcome.DENIED)),
    "failed": Count("pk", filter=~Q(outcome__in=(Outcome.OK, Outcome.DENIED))),
}


def count_calls_today(organisation: Tenant) -> int:
    """Since midnight UTC."""
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    with tenant_scope(organisation):
        return Call.objects.filter(call_id__gte=lowest_at(midnight)).count()


def usage_of(organisation: Tenant, server_id: UUID) -> ServerUsage:
    now = clock.now()
    with tenant_scope(organisation):
        return ServerUsage(
            day=_period(server_id, now - timedelta(days=1)),
            week=_period(server_id, now - timedelta(days=7)),
            hours=_hours(server_id, now),
        )


def _period(server_id: UUID, since: datetime) -> Period:
    rows = Call.objects.filter(server_id=server_id, call_id__gte=lowest_at(since)).order_by()
    found = rows.aggregate(
        calls=Count("pk"),
        median_ms=Percentile("latency_ms", 0.5),
        p95_ms=Percentile("latency_ms", 0.95),
        **_COUNTS,
    )
    spend = rows.filter(billable=True).values("currency").annotate(total=Sum("price")).order_by("currency")
    return Period(**found, spend=tuple((each["currency"], each["total"]) for each in spend))


def _hours(server_id: UUID, now: datetime) -> list[tuple[datetime, tuple[int, int, int]]]:
    last = now.replace(minute=0, second=0, microsecond=0)
    hours = [last - timedelta(hours=back) for back in reversed(range(24))]
    rows = (
        Call.objects.filter(server_id=server_id, call_id__gte=lowest_at(hours[0]))
        .order_by()
        .annotate(hour=TruncHour("occurred_at"))
        .values("hour")
        .annotate(**_COUNTS)
        .values_list("hour", *_COUNTS)
    )
    found = {hour: (answered, denied, failed) for hour, answered, denied, failed in rows}
    return [(hour, found.get(hour, (0, 0, 0))) for hour in hours]
