"""The history of decisions of the active organisation: who was let through where, who was not, and why.

It reads the call log; every read is bounded by call ids, which carry their time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, DateTimeField, F, Func, Q, QuerySet, Value

from calls.models import Call
from calls.record import COLUMNS
from core.ids import lowest_at

ALLOW, DENY = "allow", "deny"
_REASONS_SHOWN = 12
_COLUMNS = [name for name, _ in COLUMNS]


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Which decisions; what is empty narrows nothing. `decision` is allow or deny."""

    since: datetime | None = None
    until: datetime | None = None
    server_id: UUID | None = None
    tool: str = ""
    agent: str = ""
    decision: str = ""
    reason: str = ""

    @property
    def is_narrowed(self) -> bool:
        return bool(self.server_id or self.tool or self.agent or self.decision or self.reason)


def list_decisions(wanted: DecisionFilter, *, limit: int, before: UUID | None = None) -> list[Call]:
    """The newest, or those older than a given one."""
    rows = _matching(wanted)
    if before is not None:
        rows = rows.filter(call_id__lt=before)
    return list(rows.order_by("-call_id")[:limit])


def count_by_step(wanted: DecisionFilter, step: timedelta) -> dict[datetime, tuple[int, int]]:
    """Allowed and denied for each step of time from `since` on; steps without any are missing."""
    assert wanted.since is not None, "steps begin somewhere"
    moment = Func(Value(step), F("occurred_at"), Value(wanted.since), function="date_bin", output_field=DateTimeField())
    rows = _matching(wanted).order_by().annotate(bin=moment).values("bin")
    found = rows.annotate(allowed_count=Count("pk", filter=Q(allowed=True)), all_count=Count("pk"))
    return {row["bin"]: (row["allowed_count"], row["all_count"] - row["allowed_count"]) for row in found}


def count_by_reason(wanted: DecisionFilter) -> list[tuple[str, bool, int]]:
    """Reasons with whether they allow and how often they decided, the most frequent first."""
    rows = (
        _matching(wanted)
        .order_by()
        .values("reason", "allowed")
        .annotate(calls=Count("pk"))
        .order_by("-calls", "reason")
    )
    return [(row["reason"], row["allowed"], row["calls"]) for row in rows[:_REASONS_SHOWN]]


def rows_after(
    wanted: DecisionFilter, after: UUID | None, settled: datetime | None, limit: int
) -> list[dict[str, Any]]:
    """Rows as they are stored, oldest first, after a given one; only those that began before `settled`."""
    rows = _matching(wanted)
    if after is not None:
        rows = rows.filter(call_id__gt=after)
    if settled is not None:
        rows = rows.filter(call_id__lt=lowest_at(settled))
    return list(rows.order_by("call_id").values(*_COLUMNS)[:limit])


def _matching(wanted: DecisionFilter) -> QuerySet[Call]:
    rows = Call.objects.all()
    if wanted.since is not None:
        rows = rows.filter(call_id__gte=lowest_at(wanted.since))
    if wanted.until is not None:
        rows = rows.filter(call_id__lt=lowest_at(wanted.until))
    same = {"server_id": wanted.server_id, "tool": wanted.tool, "agent": wanted.agent, "reason": wanted.reason}
    rows = rows.filter(**{name: value for name, value in same.items() if value})
    return rows.filter(allowed=wanted.decision == ALLOW) if wanted.decision else rows
