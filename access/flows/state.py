"""What sessions have touched, shared by every gateway process. Runs inside the organisation's schema.

Judging and touching are one transaction under the lock of the session's row: of two calls at the same moment one comes first, and
the other one is judged by what it left. A call that does not pass touches nothing. Whatever goes wrong raises, and then nothing
passes. Rows are few (one a caller, used again) and are removed a day after their end.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from access import flow
from access.flows.types import FlowAnswer, FlowAsk
from access.models import FlowSession
from access.types import NO_LABELS, FlowLabel, Labels
from core import clock

KEPT = timedelta(days=1)


def take(ask: FlowAsk) -> FlowAnswer:
    """Judge a call by what its session has touched, and have the session touch its labels when it passes."""
    for last in (False, True):
        try:
            with transaction.atomic():
                return _take(ask)
        except IntegrityError:
            # Another call of the same session was the first at the same moment; from here on its row is found.
            if last:
                raise
    raise AssertionError("unreachable")


def _take(ask: FlowAsk) -> FlowAnswer:
    now, rows = clock.now(), FlowSession.objects.filter(scope=ask.scope())
    row = (rows if ask.peeks else rows.select_for_update()).first()
    before = labels_of(row, now)
    verdict = flow.judge(ask.rule, before, ask.labels, exempt=ask.exempt, approved=ask.approved)
    if ask.peeks or not verdict.passes:
        return FlowAnswer(verdict, before)
    if row is None:
        row = FlowSession(
            scope=ask.scope(),
            kind=ask.kind,
            api_key_id=ask.api_key_id,
            agent=ask.agent[:200],
            agent_session_id=ask.agent_session_id if ask.kind == "agent" else None,
            touched={},
            began_at=now,
        )
    if not before:
        row.touched, row.began_at = {}, now
    first = {"call": str(ask.call_id), "server": ask.server_slug, "tool": ask.tool, "at": now.isoformat()}
    row.touched = row.touched | {label.value: first for label in ask.labels if label not in before}
    row.last_at, row.ends_at = now, now + timedelta(seconds=ask.rule.window_s)
    row.save(force_insert=row._state.adding)
    return FlowAnswer(verdict, before)


def labels_of(row: FlowSession | None, now: datetime) -> Labels:
    """What a session has touched at this moment. A label of another release is no label here."""
    if row is None or row.ends_at <= now:
        return NO_LABELS
    return frozenset(FlowLabel(name) for name in row.touched if name in set(FlowLabel))


def live(now: datetime | None = None) -> QuerySet[FlowSession]:
    return FlowSession.objects.filter(ends_at__gt=now or clock.now())


def clear_over() -> int:
    """Remove sessions that ended some time ago."""
    return FlowSession.objects.filter(ends_at__lt=clock.now() - KEPT).delete()[0]
