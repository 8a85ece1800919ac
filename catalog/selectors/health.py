"""How servers did: for the page of a server, its status page, and operators.

A caller hands in a server that it got through `visible_to`; the row policies of the tables ask for the same a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db.models import Case, F, IntegerField, Q, QuerySet, Sum, Value, When

from catalog.cards import HEALTH_FRESH, HealthReading, health_of
from catalog.choices import Health
from catalog.health import rounds, rules
from catalog.health.models import HealthCheck, HealthDay, HealthRun, Incident
from catalog.health.rules import Uptime
from catalog.models import Server
from core import clock

STRIP_DAYS = 30
CHECKS_SHOWN = 12
INCIDENTS_SHOWN = 20
RUNS_SHOWN = 12
WORST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds to list the tools, connection included, over `checks` that were answered."""

    p50: int | None
    p95: int | None
    p99: int | None
    checks: int


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    state: str  # ok, degraded, down, unknown
    uptime: Uptime

    @property
    def label(self) -> str:
        percent = self.uptime.percent
        return (
            f"{self.day:%d %b}"
            if percent is None
            else f"{self.day:%d %b}, {percent:g} % of {self.uptime.checks} checks"
        )


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """Everything that is known of one server. `since` is when the shown state began, None when nothing fresh is shown."""

    reading: HealthReading
    since: datetime | None
    tls_expires_at: datetime | None
    uptime_24h: Uptime
    uptime_7d: Uptime
    uptime_30d: Uptime
    latency: Latency  # of 24 h
    hours: Sequence[tuple[str, int | None]]  # median latency of each of the last 24 hours, the oldest first
    days: Sequence[Day]  # 30, the oldest first
    checks: Sequence[HealthCheck]  # the latest first
    incidents: Sequence[Incident]  # the latest first
    measured_at: datetime

    @property
    def uptimes(self) -> list[tuple[str, Uptime]]:
        return [("24 hours", self.uptime_24h), ("7 days", self.uptime_7d), ("30 days", self.uptime_30d)]


def of_server(server: Server) -> ServerHealth:
    """A server's health as of now. Uptime over days counts whole days (UTC), today included."""
    now = clock.now()
    checks = list(HealthCheck.objects.filter(server=server, checked_at__gt=now - timedelta(hours=24)))
    rows = {row.day: row for row in HealthDay.objects.filter(server=server, day__gt=_days_before(now, STRIP_DAYS))}
    days = [_day(now.date() - timedelta(days=back), rows) for back in reversed(range(STRIP_DAYS))]
    reading = health_of(server, now)
    return ServerHealth(
        reading=reading,
        since=server.health_since if reading.state != "unknown" else None,
        tls_expires_at=server.tls_expires_at,
        uptime_24h=_uptime_of_checks(checks),
        uptime_7d=_sum(each.uptime for each in days[-7:]),
        uptime_30d=_sum(each.uptime for each in days),
        latency=_latency(checks),
        hours=_hours(checks, now),
        days=days,
        checks=checks[:CHECKS_SHOWN],
        incidents=list(Incident.objects.filter(server=server)[:INCIDENTS_SHOWN]),
        measured_at=now,
    )


def uptimes_30d(server_ids: Iterable[UUID]) -> dict[UUID, Uptime]:
    """For cards and comparisons; servers without a check are missing."""
    rows = (
        HealthDay.objects.filter(server_id__in=list(server_ids), day__gt=_days_before(clock.now(), STRIP_DAYS))
        .order_by()
        .values("server_id")
        .annotate(up=Sum(F("ready") + F("degraded")), failed=Sum("down"))
    )
    return {row["server_id"]: Uptime(row["up"] + row["failed"], row["up"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Overview:
    """What operators see: how many servers are in which state, and how the checking itself does."""

    counts: dict[str, int]  # ok, degraded, down, unknown
    worst: Sequence[Server]
    incidents: Sequence[Incident]  # open, the oldest first
    runs: Sequence[HealthRun]  # the latest first
    oldest: datetime | None  # the check that is longest ago, of servers that are checked
    unchecked: int  # watched servers that were never checked


def overview() -> Overview:
    """For operators, inside the platform's scope."""
    watched = rounds.watched()
    fresh = Q(health_checked_at__gte=clock.now() - HEALTH_FRESH)
    states = dict.fromkeys(("ok", "degraded", "down", "unknown"), 0)
    for state, name in ((Health.READY, "ok"), (Health.DEGRADED, "degraded"), (Health.DOWN, "down")):
        states[name] = watched.filter(fresh, health=state).count()
    states["unknown"] = watched.count() - sum(states.values())
    return Overview(
        counts=states,
        worst=_worst(watched, fresh),
        incidents=list(open_incidents()[:WORST_SHOWN]),
        runs=list(HealthRun.objects.all()[:RUNS_SHOWN]),
        oldest=watched.exclude(health_checked_at=None)
        .order_by("health_checked_at")
        .values_list("health_checked_at", flat=True)
        .first(),
        unchecked=watched.filter(health_checked_at=None).count(),
    )


def open_incidents() -> QuerySet[Incident]:
    rows = Incident.objects.filter(closed_at=None).select_related("server__owner_tenant")
    return rows.order_by("began_at")


def _worst(watched: QuerySet[Server], fresh: Q) -> list[Server]:
    """Down first, then degraded, then those of which nothing is known; within each, the longest first."""
    rank = Case(
        When(~fresh | Q(health_checked_at=None), then=Value(2)),
        When(health=Health.DOWN, then=Value(0)),
        When(health=Health.DEGRADED, then=Value(1)),
        When(health=Health.UNKNOWN, then=Value(2)),
        default=Value(3),
        output_field=IntegerField(),
    )
    rows = watched.select_related("owner_tenant").annotate(rank=rank)
    return list(rows.order_by("rank", "health_since", "name")[:WORST_SHOWN])


def _days_before(now: datetime, days: int) -> date:
    return now.date() - timedelta(days=days)


def _day(day: date, rows: dict[date, HealthDay]) -> Day:
    row = rows.get(day)
    if row is None:
        return Day(day, "unknown", Uptime(0, 0))
    answered = row.ready + row.degraded
    return Day(day, rules.state_of_day(row.ready, row.degraded, row.down), Uptime(answered + row.down, answered))


def _uptime_of_checks(checks: Sequence[HealthCheck]) -> Uptime:
    known = [each for each in checks if each.outcome != Health.UNKNOWN]
    return Uptime(len(known), sum(each.outcome != Health.DOWN for each in known))


def _sum(parts: Iterable[Uptime]) -> Uptime:
    each = list(parts)
    return Uptime(sum(part.checks for part in each), sum(part.answered for part in each))


def _latency(checks: Sequence[HealthCheck]) -> Latency:
    times = _times(checks)
    p50, p95, p99 = (rules.percentile(times, share) for share in (0.5, 0.95, 0.99))
    return Latency(p50, p95, p99, len(times))


def _hours(checks: Sequence[HealthCheck], now: datetime) -> list[tuple[str, int | None]]:
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    hours = [first + timedelta(hours=number) for number in range(24)]
    return [
        (
            f"{hour:%d %b %H:%M} UTC",
            rules.percentile(_times([c for c in checks if hour <= c.checked_at < hour + timedelta(hours=1)]), 0.5),
        )
        for hour in hours
    ]


def _times(checks: Iterable[HealthCheck]) -> list[int]:
    return sorted(each.took_ms for each in checks if each.took_ms is not None)
