"""The status page of a server, and the same for programs. For everybody who may know of the server."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from catalog.health.models import Incident
from catalog.health.rules import Uptime
from catalog.models import Server
from catalog.selectors import health
from catalog.selectors.health import ServerHealth
from catalog.selectors.listing import find_server
from catalog.web.viewers import viewer_of
from core.errors import NotFoundError
from tenants.requests import MarketRequest

STATE_WORDS = {
    "ok": "Answers as approved",
    "degraded": "Answers, but not as it should",
    "down": "Does not answer",
    "unknown": "Not known: there is no fresh check",
}


@require_safe
def status(request: MarketRequest, slug: str) -> HttpResponse:
    server = _server(request, slug)
    found = health.of_server(server)
    context = {
        "server": server,
        "health": found,
        "words": STATE_WORDS[found.reading.state],
        "strip": [(each.label, each.state) for each in found.days],
        "events": [_event(incident) for incident in found.incidents],
        "open": next((each for each in found.incidents if each.closed_at is None), None),
    }
    return render(request, "catalog/status.html", context)


@require_safe
@never_cache
def status_json(request: MarketRequest, slug: str) -> JsonResponse:
    server = _server(request, slug)
    return JsonResponse(_document(server, health.of_server(server)))


def _server(request: MarketRequest, slug: str) -> Server:
    found = find_server(viewer_of(request), slug)
    if found is None:
        raise NotFoundError(
            "There is no server of this name that you may see.", next_step="Check the name, or search the catalog."
        )
    return found


def _event(incident: Incident) -> dict[str, Any]:
    worst = incident.get_severity_display()
    cause = f" ({incident.get_cause_display().lower()})" if incident.cause else ""
    return {
        "at": incident.began_at,
        "title": f"{worst}{cause}",
        "detail": f"{incident.detail} {_length(incident)}".strip(),
        "kind": "ok" if incident.closed_at else "bad",
        "icon": "check" if incident.closed_at else "alert",
    }


def _length(incident: Incident) -> str:
    if incident.closed_at is None:
        return "Still open."
    minutes = max(round((incident.closed_at - incident.began_at).total_seconds() / 60), 1)
    if minutes < 120:
        return f"Over after {minutes} minute{'' if minutes == 1 else 's'}."
    return f"Over after {minutes // 60} h {minutes % 60} min."


def _document(server: Server, found: ServerHealth) -> dict[str, Any]:
    """States are ready, degraded, down and unknown; a number that is not known is null."""
    latency = found.latency
    return {
        "server": server.slug,
        "state": _state(found.reading.state),
        "detail": found.reading.detail,
        "since": found.since,
        "checked_at": found.reading.measured_at,
        "certificate_ends_at": found.tls_expires_at,
        "uptime": {
            "24h": _uptime(found.uptime_24h),
            "7d": _uptime(found.uptime_7d),
            "30d": _uptime(found.uptime_30d),
        },
        "latency_ms_24h": {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99, "checks": latency.checks},
        "days": [{"day": each.day, "state": _state(each.state), **_uptime(each.uptime)} for each in found.days],
        "incidents": [
            {
                "id": str(each.pk),
                "severity": each.severity,
                "cause": each.cause,
                "detail": each.detail,
                "began_at": each.began_at,
                "closed_at": each.closed_at,
            }
            for each in found.incidents
        ],
        "measured_at": found.measured_at,
    }


def _state(drawn: str) -> str:
    return "ready" if drawn == "ok" else drawn


def _uptime(uptime: Uptime) -> dict[str, Any]:
    return {"percent": uptime.percent, "checks": uptime.checks}
