"""The very calls that a line of a bill is made of, of the active organisation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum

from calls.models import Call
from calls.partitions import Month
from core.ids import lowest_at

# A call joins a period at most two months after it began: what is older is in no line of it.
_REACH = timedelta(days=62)


@dataclass(frozen=True, slots=True)
class BilledLine:
    """Calls that stand on one line: one tool at one price, made in one month and billed in one period."""

    period_id: int
    server_id: UUID
    tool: str
    provider_id: UUID | None
    price_version_id: UUID
    origin_month: date


@dataclass(frozen=True, slots=True)
class LineSum:
    """How many calls, and how many units of their prices."""

    calls: int
    quantity: Decimal


def calls_of(line: BilledLine) -> QuerySet[Call]:
    month = Month(line.origin_month.year, line.origin_month.month)
    return _of_period(line.period_id).filter(
        occurred_at__gte=month.starts_at,
        occurred_at__lt=month.next().starts_at,
        server_id=line.server_id,
        tool=line.tool,
        provider_id=line.provider_id,
        price_version_id=line.price_version_id,
    )


def sum_of(line: BilledLine) -> LineSum:
    found = calls_of(line).order_by().aggregate(calls=Count("pk"), quantity=Sum("quantity"))
    return LineSum(found["calls"], found["quantity"] or Decimal(0))


def page_of(line: BilledLine, *, limit: int, before: UUID | None = None) -> list[Call]:
    """The newest calls of a line, or those older than a given one."""
    older = Q(call_id__lt=before) if before is not None else Q()
    return list(calls_of(line).filter(older).order_by("-call_id")[:limit])


def piece_of_period(period_id: int, *, after: UUID | None, limit: int) -> list[Call]:
    """Calls that a period bills, oldest first, after a given one."""
    later = Q(call_id__gt=after) if after is not None else Q()
    return list(_of_period(period_id).filter(later).order_by("call_id")[:limit])


def _of_period(period_id: int) -> QuerySet[Call]:
    first = Month(period_id // 100, period_id % 100).starts_at - _REACH
    rows = Call.objects.filter(call_id__gte=lowest_at(first), period_id=period_id)
    return rows.filter(billable=True, price_version_id__isnull=False)
