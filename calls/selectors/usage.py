"""What was used: sums of billable calls of the active organisation, from its log itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection
from django.db.models import Case, DecimalField, F, Sum, When

from calls.models import Period, UsageDay
from core.ids import lowest_at

# A call joins a period at most `writer.TOO_LATE` after it began; a task's is written up to a week after its id was minted.
REACH = timedelta(days=62)
_UNITS = DecimalField(max_digits=20, decimal_places=6)


@dataclass(frozen=True, slots=True)
class PeriodUsage:
    """Billable calls of one period of one tool at one price, by the month in which they were made."""

    server_id: UUID
    server_name: str
    tool: str
    provider_id: UUID | None
    price_version_id: UUID
    origin_month: date
    quantity: Decimal
    calls: int


def by_period(period: Period) -> list[PeriodUsage]:
    """The same whatever the order in which calls arrived; of a closed period the same for good.

    Calls that no price names are free and not among them.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BY_PERIOD, [period.pk, lowest_at(period.starts_at - REACH)])
        return [PeriodUsage(*row) for row in cursor.fetchall()]


_BY_PERIOD = """
SELECT server_id, max(server_name), tool, provider_id, price_version_id,
       date_trunc('month', occurred_at AT TIME ZONE 'UTC')::date AS origin_month, sum(quantity), count(*)
FROM calls_call
WHERE period_id = %s AND call_id >= %s AND billable AND price_version_id IS NOT NULL
GROUP BY server_id, tool, provider_id, price_version_id, origin_month
ORDER BY server_id, tool, price_version_id, origin_month, provider_id
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """Successful tool calls of one day with one key, of one tool at one price. Without a price version they are free."""

    day: date
    server_id: UUID
    server_name: str
    tool: str
    provider_id: UUID | None
    price_version_id: UUID | None
    api_key_id: UUID | None
    calls: int
    quantity: Decimal


def cells(period: Period) -> list[Cell]:
    """What was used in a period as of this moment, from the log itself."""
    with connection.cursor() as cursor:
        cursor.execute(f"{CELLS} ORDER BY 1, 2, 4, 6, 7", [period.pk, lowest_at(period.starts_at - REACH)])
        return [Cell(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class DayUse:
    """Units that are billed of one day, with one key, of one provider's servers."""

    day: date
    provider_id: UUID | None
    api_key_id: UUID | None
    units: Decimal


def paid_days(first: date, last: date) -> list[DayUse]:
    """From the sums of days, both days included; of the organisation whose schema is open."""
    rows = UsageDay.objects.filter(
        period_id__gte=first.year * 100 + first.month, day__gte=first, day__lte=last, price_version_id__isnull=False
    ).order_by()
    sums = rows.values("day", "provider_id", "api_key_id").annotate(units=Sum("quantity"))
    return [DayUse(**row) for row in sums]


def units_of_server(server_id: UUID, first: date, last: date) -> dict[str, Decimal]:
    """Units by tool of a server's calls of some days, from the sums of days: of tools without a price every good call is one."""
    rows = UsageDay.objects.filter(
        period_id__gte=first.year * 100 + first.month, day__gte=first, day__lte=last, server_id=server_id
    ).order_by()
    units = Sum(Case(When(price_version_id=None, then=F("calls")), default=F("quantity"), output_field=_UNITS))
    return {row["tool"]: row["units"] for row in rows.values("tool").annotate(units=units)}


CELLS = """
SELECT (occurred_at AT TIME ZONE 'UTC')::date AS day, server_id, max(server_name) AS server_name, tool, provider_id,
       CASE WHEN billable THEN price_version_id END AS price_version_id, api_key_id, count(*) AS calls,
       coalesce(sum(quantity) FILTER (WHERE billable AND price_version_id IS NOT NULL), 0) AS quantity
FROM calls_call
WHERE period_id = %s AND call_id >= %s AND outcome = 'ok' AND (billable OR method = 'tools/call') AND server_id IS NOT NULL
GROUP BY 1, 2, 4, 5, 6, 7
"""
