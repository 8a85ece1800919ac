"""What an organisation did with a server: its calls as charts, and the record of decisions and changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from audit import selectors as audit
from calls import charts
from calls import selectors as calls
from calls.selectors import CallFilter
from catalog.models import Server
from catalog.selectors import usage
from core import clock
from tenants.context import tenant_scope
from tenants.models import Tenant

DEFAULT_PERIOD = "7d"
DECISIONS_MAX = 20
EVENTS_MAX = 30


def usage_tab(organisation: Tenant, server: Server, card_url: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Calls of one period: how many, how they ended, how long they took, what was refused and why."""
    name = given.get("period", "") if given.get("period") in charts.PERIODS else DEFAULT_PERIOD
    period, now = charts.PERIODS[name], clock.now()
    wanted = CallFilter(since=period.begins(now), server_id=server.pk)
    with tenant_scope(organisation):
        totals = calls.totals(wanted)
        steps = calls.totals_by_step(wanted, period.step)
        spend = calls.spend(wanted, midnight=now.replace(hour=0, minute=0, second=0, microsecond=0))
        reasons = usage.count_reasons(wanted.since, server.pk)
        tools = usage.count_tools(wanted.since, server.pk)
    drawn = charts.series(period, wanted.since, steps)
    labels = [label for label, _ in drawn.bars]
    moments = [wanted.since + period.step * index for index in range(period.steps)]
    p95 = [steps[moment].p95_ms if moment in steps else None for moment in moments]
    return {
        "organisation": organisation,
        "period": period,
        "periods": [
            {"label": each.label.capitalize(), "url": _period_url(card_url, key), "active": key == name}
            for key, each in charts.PERIODS.items()
        ],
        "totals": totals,
        "error_share": round(100 * totals.failed / totals.allowed, 1) if totals.allowed else None,
        "bars": drawn.bars,
        "series": list(charts.SERIES),
        "latency": list(zip(labels, drawn.median_ms, strict=True)),
        "p95": [
            (label, round(value, 1) if value is not None else None) for label, value in zip(labels, p95, strict=True)
        ],
        "spend": spend,
        "reasons": [(reason.replace("_", " "), number) for reason, number in reasons],
        "tools": tools,
        "calls_url": f"{reverse('org:calls', args=[organisation.slug])}?{urlencode({'server': server.pk})}",
        "measured_at": now,
    }


def _period_url(card_url: str, key: str) -> str:
    return f"{card_url}?{urlencode({'tab': 'usage', 'period': key})}"


def audit_tab(organisation: Tenant, server: Server, *, calls_seen: bool, events_seen: bool) -> dict[str, Any]:
    """The newest decisions on calls, and what people and the platform did about the server in this organisation."""
    since = clock.now() - charts.PERIODS["30d"].step * 30
    with tenant_scope(organisation):
        decisions = (
            calls.list_calls(CallFilter(since=since, server_id=server.pk), limit=DECISIONS_MAX) if calls_seen else []
        )
        events = audit.list_of_target("server", str(server.pk), EVENTS_MAX) if events_seen else []
    return {
        "organisation": organisation,
        "decisions": [{"call": call, "reason": call.reason.replace("_", " ")} for call in decisions],
        "events": [
            {"at": event.occurred_at, "title": event.action, "actor": event.actor_label or event.actor_type}
            for event in events
        ],
        "calls_seen": calls_seen,
        "events_seen": events_seen,
        "calls_url": f"{reverse('org:calls', args=[organisation.slug])}?{urlencode({'server': server.pk})}",
    }
