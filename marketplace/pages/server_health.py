"""The health of every server that is checked, for operators: the worst first, and how the checking itself does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from catalog.cards import HealthReading, health_of
from catalog.choices import Visibility
from catalog.health.models import HealthRun
from catalog.models import Server
from catalog.selectors import health
from core import clock
from tenants.context import platform_scope
from tenants.requests import MarketRequest


@dataclass(frozen=True, slots=True)
class Line:
    server: Server
    reading: HealthReading
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Round:
    run: HealthRun
    seconds: float | None  # None while it runs
    left: int  # due, but not reached in time


@require_safe
def operations_health(request: MarketRequest) -> HttpResponse:
    with platform_scope():
        found = health.overview()
    now = clock.now()
    rounds = [_round(run) for run in found.runs]
    shown = [*found.worst, *(incident.server for incident in found.incidents)]
    context = {
        "private_shown": any(server.visibility != Visibility.PUBLIC for server in shown),
        "counts": found.counts,
        "lines": [_line(server, now) for server in found.worst],
        "incidents": found.incidents,
        "rounds": rounds,
        "last": next((each for each in rounds if each.seconds is not None), None),
        "oldest": found.oldest,
        "watched_words": f"of {sum(found.counts.values())} servers",
        "unchecked_words": f"{found.unchecked} never checked",
        "interval_words": f"every {settings.HEALTH_INTERVAL_S} s",
    }
    return render(request, "operations/health.html", context)


def _line(server: Server, now: datetime) -> Line:
    reading = health_of(server, now)
    return Line(server, reading, server.health_since if reading.state != "unknown" else None)


def _round(run: HealthRun) -> Round:
    seconds = (run.ended_at - run.began_at).total_seconds() if run.ended_at else None
    return Round(run, seconds, max(run.due - run.checked, 0))
