"""Reading the call log of the active organisation.

Every read is bounded by call ids, which carry their time, so that Postgres opens only the months that are asked for. Lists are
paged by the id of the last row seen, which costs the same on every page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Aggregate, Count, DateTimeField, F, FloatField, Func, Q, QuerySet, Sum, Value

from calls.models import Call
from calls.record import Outcome
from core.ids import lowest_at

FAILED = (Outcome.TOOL_ERROR, Outcome.UPSTREAM_ERROR, Outcome.TIMEOUT, Outcome.UNKNOWN)
_SERVERS_MAX = 200


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls. `outcome` is one of Outcome, or "allowed", or empty."""

    since: datetime
    server_id: UUID | None = None
    tool: str = ""
    api_key_id: UUID | None = None
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """Calls of a period. Latencies in ms, of allowed calls; None when there were none."""

    calls: int = 0
    allowed: int = 0
    denied: int = 0
    failed: int = 0
    median_ms: float | None = None
    p95_ms: float | None = None

    @property
    def ok(self) -> int:
        return self.calls - self.denied - self.failed


@dataclass(frozen=True, slots=True)
class Spend:
    """What calls cost in one currency: since midnight, and over the whole period asked for."""

    currency: str
    today: Decimal
    period: Decimal


class Percentile(Aggregate):
    """Postgres' percentile_cont; `share` is between 0 and 1. Filter the rows, not the aggregate."""

    function = "percentile_cont"
    template = "%(function)s(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()

    def __init__(self, expression: str, share: float, **extra: Any) -> None:
        super().__init__(expression, share=repr(float(share)), **extra)


_COUNTS = {
    "calls": Count("pk"),
    "allowed": Count("pk", filter=Q(allowed=True)),
    "denied": Count("pk", filter=Q(outcome=Outcome.DENIED)),
    "failed": Count("pk", filter=Q(outcome__in=FAILED)),
}


def list_calls(wanted: CallFilter, *, limit: int, before: UUID | None = None) -> list[Call]:
    """The newest calls, or those older than a given one."""
    rows = _matching(wanted)
    if before is not None:
        rows = rows.filter(call_id__lt=before)
    return list(rows.order_by("-call_id")[:limit])


def newest_call(wanted: CallFilter) -> UUID | None:
    return _matching(wanted).order_by("-call_id").values_list("call_id", flat=True).first()


def find_call(call_id: UUID) -> Call | None:
    return Call.objects.filter(pk=call_id).first()


def has_calls() -> bool:
    return Call.objects.order_by().exists()


def totals(wanted: CallFilter) -> Totals:
    """Counts and latencies; the outcome that is filtered for does not narrow them, or shares would mean nothing."""
    rows = _narrowed(wanted).order_by()
    found: dict[str, Any] = rows.aggregate(**_COUNTS) | rows.filter(allowed=True).aggregate(**_PERCENTILES)
    return Totals(**found)


def totals_by_step(wanted: CallFilter, step: timedelta) -> dict[datetime, Totals]:
    """The same for each step of time from `since` on; steps without calls are missing."""
    rows = _narrowed(wanted).order_by().annotate(bin=_bin(step, wanted.since)).values("bin")
    found: dict[datetime, dict[str, Any]] = {}
    for each in (rows.annotate(**_COUNTS), rows.filter(allowed=True).annotate(**_PERCENTILES)):
        for row in each:
            found.setdefault(row["bin"], {}).update(row)
    return {moment: Totals(**{name: row[name] for name in row if name != "bin"}) for moment, row in found.items()}


def spend(wanted: CallFilter, *, midnight: datetime) -> list[Spend]:
    """By currency, the largest first."""
    rows = (
        _narrowed(wanted)
        .filter(billable=True)
        .order_by()
        .values("currency")
        .annotate(
            period=Sum("price"), today=Sum("price", filter=Q(call_id__gte=lowest_at(midnight)), default=Decimal(0))
        )
    )
    return sorted((Spend(**row) for row in rows), key=lambda each: -each.period)


def billed_since(
    moment: datetime,
    until: datetime,
    *,
    currency: str,
    key_id: UUID | None,
    server_id: UUID | None,
    tool: str,
    price_version_id: UUID | None = None,
) -> tuple[int, Decimal]:
    """Successful tool calls from a moment on, and what those in one currency cost together."""
    rows = Call.objects.filter(call_id__gte=lowest_at(moment), call_id__lt=lowest_at(until), billable=True).order_by()
    wanted = {
        "api_key_id": key_id, "server_id": server_id, "tool": tool or None, "price_version_id": price_version_id
    }  # fmt: skip
    rows = rows.filter(**{name: value for name, value in wanted.items() if value is not None})
    found = rows.aggregate(calls=Count("pk"), money=Sum("price", filter=Q(currency=currency), default=Decimal(0)))
    return found["calls"], found["money"]


def has_called(server_id: UUID, since: datetime) -> bool:
    """Whether the organisation called a server since a moment and was let through."""
    return Call.objects.filter(server_id=server_id, call_id__gte=lowest_at(since), allowed=True).exists()


def count_by_server(since: datetime, until: datetime) -> dict[UUID, int]:
    """Calls of tools that were let through between two moments, by server. Lists and handshakes say nothing of use."""
    rows = Call.objects.filter(
        call_id__gte=lowest_at(since),
        call_id__lt=lowest_at(until),
        method="tools/call",
        allowed=True,
        server_id__isnull=False,
    ).order_by()
    found = rows.values("server_id").annotate(calls=Count("pk"))
    return {row["server_id"]: row["calls"] for row in found if row["server_id"] is not None}


def called_servers() -> list[tuple[UUID, str]]:
    """Servers that were ever called, with the name under which they were called last.

    Jumps from one server to the next along the index, so that the cost grows with servers and not with calls.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CALLED_SERVERS, [_SERVERS_MAX])
        return sorted(cursor.fetchall(), key=lambda row: row[1])


_CALLED_SERVERS = """
WITH RECURSIVE found AS (
    (SELECT server_id FROM calls_call WHERE server_id IS NOT NULL ORDER BY server_id LIMIT 1)
    UNION ALL
    SELECT (SELECT c.server_id FROM calls_call c WHERE c.server_id > found.server_id ORDER BY c.server_id LIMIT 1)
    FROM found WHERE found.server_id IS NOT NULL
)
SELECT found.server_id, last.server_name
FROM found CROSS JOIN LATERAL (
    SELECT server_name FROM calls_call c WHERE c.server_id = found.server_id ORDER BY c.call_id DESC LIMIT 1
) last
LIMIT %s
"""

_PERCENTILES = {"median_ms": Percentile("latency_ms", 0.5), "p95_ms": Percentile("latency_ms", 0.95)}


def _bin(step: timedelta, origin: datetime) -> Func:
    return Func(Value(step), F("occurred_at"), Value(origin), function="date_bin", output_field=DateTimeField())


def _narrowed(wanted: CallFilter) -> QuerySet[Call]:
    rows = Call.objects.filter(call_id__gte=lowest_at(wanted.since))
    if wanted.server_id:
        rows = rows.filter(server_id=wanted.server_id)
    if wanted.api_key_id:
        rows = rows.filter(api_key_id=wanted.api_key_id)
    if wanted.tool:
        rows = rows.filter(tool=wanted.tool)
    return rows


def _matching(wanted: CallFilter) -> QuerySet[Call]:
    rows = _narrowed(wanted)
    if wanted.outcome == "allowed":
        return rows.filter(allowed=True)
    return rows.filter(outcome=wanted.outcome) if wanted.outcome else rows
