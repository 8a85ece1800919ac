"""How much servers are called: counted in each organisation by itself, kept as sums of days that name nobody.

A step is one day in one organisation, and a day is stored once all of them are counted, so that a run can end anywhere. Rows of
calls may come late (`calls.spool`), so a day is counted again until the day after it is over.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from uuid import UUID

from django.db import connection, transaction

from calls.selectors import count_by_server
from catalog.models import CallDay, CountedDay, Server
from core import clock
from tenants.context import platform_scope, tenant_scope
from tenants.jobs import each_tenant

DAYS, RECENT_DAYS = 30, 7
# Fewer calls in a week are no trend.
TREND_CALLS_MIN = 5
# A run ends well before its job is cut off; the day that it is at is finished.
STEP_S = 120.0
_SETTLED_AFTER = timedelta(days=2)
_BATCH = 500
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('marketplace.catalog.calls'))"

_CHANGED = """
SELECT * FROM (
    SELECT s.id, s.calls_30d, s.trend, coalesce(n.calls, 0) AS calls,
        CASE WHEN n.recent >= %(least)s THEN greatest(round(n.recent - n.calls * %(share)s), 0) ELSE 0 END AS rise
    FROM public.catalog_server s
    LEFT JOIN (
        SELECT server_id, sum(calls) AS calls, coalesce(sum(calls) FILTER (WHERE day > %(recent)s), 0) AS recent
        FROM public.catalog_callday WHERE day > %(first)s GROUP BY server_id
    ) n ON n.server_id = s.id
    WHERE n.server_id IS NOT NULL OR s.calls_30d > 0 OR s.trend > 0
) found WHERE (calls_30d, trend) IS DISTINCT FROM (calls, rise) ORDER BY id
"""
_STORE = """
UPDATE public.catalog_server s SET calls_30d = n.calls, trend = n.rise
FROM unnest(%(ids)s::uuid[], %(calls)s::bigint[], %(rises)s::bigint[]) AS n (id, calls, rise) WHERE s.id = n.id
"""


def count_calls(*, seconds: float = STEP_S) -> bool:
    """Count what is to be counted and let the servers show it. Whether every day is counted; else the next run goes on."""
    end_ms = clock.monotonic_ms() + seconds * 1000
    today = clock.now().date()
    waiting = _waiting(today)
    for done, day in enumerate(waiting):
        if done and clock.monotonic_ms() > end_ms:
            break
        _store_day(day, _count_day(day))
        waiting = waiting[1:]
    _show(today)
    return not waiting


def _waiting(today: date) -> list[date]:
    """The days to count, the latest first."""
    with platform_scope():
        counted = dict(CountedDay.objects.values_list("day", "counted_at"))
    days = (today - timedelta(days=back) for back in range(DAYS))
    return [day for day in days if day not in counted or counted[day] < _begin(day) + _SETTLED_AFTER]


def _count_day(day: date) -> Counter[UUID]:
    calls: Counter[UUID] = Counter()
    for tenant in each_tenant():
        with tenant_scope(tenant):
            calls.update(count_by_server(_begin(day), _begin(day + timedelta(days=1))))
    return calls


def _store_day(day: date, calls: Counter[UUID]) -> None:
    with platform_scope(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK)
        known = set(Server.objects.filter(pk__in=list(calls)).values_list("pk", flat=True))
        CallDay.objects.filter(day=day).delete()
        CallDay.objects.bulk_create(
            (CallDay(server_id=server_id, day=day, calls=calls[server_id]) for server_id in sorted(known)),
            batch_size=_BATCH,
        )
        CountedDay.objects.update_or_create(day=day, defaults={"counted_at": clock.now()})


def _show(today: date) -> None:
    """Write the sums of the last days to the servers where they differ, some at a time, and forget older days."""
    first = today - timedelta(days=DAYS)
    with platform_scope(), connection.cursor() as cursor:
        CallDay.objects.filter(day__lte=first).delete()
        CountedDay.objects.filter(day__lte=first).delete()
        cursor.execute(
            _CHANGED,
            {
                "first": first,
                "recent": today - timedelta(days=RECENT_DAYS),
                "share": RECENT_DAYS / DAYS,
                "least": TREND_CALLS_MIN,
            },
        )
        rows = iter(cursor.fetchall())
        while batch := list(islice(rows, _BATCH)):
            ids, _, _, calls, rises = zip(*batch, strict=True)
            cursor.execute(
                _STORE, {"ids": list(ids), "calls": [int(n) for n in calls], "rises": [int(n) for n in rises]}
            )


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
