"""The months in which calls of the active organisation are billed together: opened ahead of time, closed once, sealed for good.

A close takes the writers' lock alone for one short transaction (`calls.locks`): whatever they stamp after it joins a later
period. What is done with a closed period comes after, in transactions of its own.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from calls import locks
from calls.models import Period, PeriodState
from calls.partitions import Month
from core import clock
from core.errors import ConflictError
from tenants.context import connection

# Writers queue behind a close that waits: it gives up early and is tried again.
_LOCK_WAIT = "SET LOCAL lock_timeout = '1s'"
LIVE = (PeriodState.OPEN, PeriodState.CLOSING)


def open_ahead(ahead: int = 1) -> list[Period]:
    """Open this month's period and those of the months ahead, with any that is missing before them; what was opened."""
    wanted = Month.of(clock.now())
    for _ in range(ahead):
        wanted = wanted.next()
    newest = Period.objects.order_by("-id").first()
    month = Month.of(newest.ends_at) if newest else Month.of(clock.now())
    made = []
    while (month.year, month.month) <= (wanted.year, wanted.month):
        made.append(Period(id=month.number, starts_at=month.starts_at, ends_at=month.next().starts_at))
        month = month.next()
    Period.objects.bulk_create(made, ignore_conflicts=True)
    return made


def start_closing() -> list[Period]:
    """Months that are over begin to close: calls that were under way at their end still join them."""
    over = list(Period.objects.filter(state=PeriodState.OPEN, ends_at__lte=clock.now()).order_by("id"))
    if over:
        open_ahead()
        Period.objects.filter(pk__in=[period.pk for period in over], state=PeriodState.OPEN).update(
            state=PeriodState.CLOSING
        )
    return over


def due(grace: timedelta) -> list[Period]:
    """Periods to be closed, the oldest first: those whose month ended at least `grace` ago."""
    return list(Period.objects.filter(state=PeriodState.CLOSING, ends_at__lte=clock.now() - grace).order_by("id"))


def close(period_id: int) -> Period:
    """Seal a period that is closing; one that is closed stays as it is. Raises ConflictError for one that is open.

    Raises OperationalError when writers do not let go of the lock within a second; it may be tried again.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_WAIT)
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [locks.CLASS, locks.key_of(connection.schema_name)])
        Period.objects.filter(pk=period_id, state=PeriodState.CLOSING).update(
            state=PeriodState.CLOSED, closed_at=clock.now()
        )
        period = Period.objects.get(pk=period_id)
    if period.state in LIVE:
        raise ConflictError(f"{period} is not closing yet: its month has to be over.", code="calls.period_open")
    return period


def mark_invoiced(period_id: int) -> None:
    """The invoice of a closed period is there. Safe to run twice."""
    Period.objects.filter(pk=period_id, state=PeriodState.CLOSED).update(state=PeriodState.INVOICED)
