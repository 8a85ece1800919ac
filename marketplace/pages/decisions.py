"""The history of decisions of an organisation, and its logs as files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from access.reasons import Words, words_for
from audit import services as audit
from calls import decisions, selectors
from calls.charts import PERIODS, Period
from calls.decisions import ALLOW, DENY, DecisionFilter
from calls.models import Call
from core import clock
from marketplace.exports import reading
from marketplace.exports.reading import Export
from tenants.choices import Right
from tenants.context import tenant_scope
from tenants.models import User
from tenants.requests import OrganisationRequest
from tenants.services.rights import require

PAGE_SIZE = 50
DEFAULT_PERIOD = "7d"
_TEXT_MAX = 128
_DAYS_MAX = 366
_STEPS_MAX = 60
_EARLIEST, _LATEST = date(2000, 1, 1), date(2200, 1, 1)
_NAMES = ("allowed", "denied")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, read once; whatever cannot be read is left out, so that a shared link never fails."""

    wanted: DecisionFilter
    period_name: str  # empty when the dates decide
    first_day: date | None
    last_day: date | None
    before: UUID | None

    @property
    def query(self) -> str:
        """The filter without the place in the list."""
        wanted = self.wanted
        kept = {
            "period": self.period_name,
            "from": self.first_day,
            "to": self.last_day,
            "server": wanted.server_id,
            "tool": wanted.tool,
            "agent": wanted.agent,
            "decision": wanted.decision,
            "reason": wanted.reason,
        }
        return urlencode({key: value for key, value in kept.items() if value})


@dataclass(frozen=True, slots=True)
class DecisionRow:
    call: Call
    words: Words


@require_safe
def decision_list(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.VIEW_AUDIT)
    asked = read(request)
    found = decisions.list_decisions(asked.wanted, limit=PAGE_SIZE + 1, before=asked.before)
    shown = found[:PAGE_SIZE]
    context = {
        "asked": asked,
        "wanted": asked.wanted,
        "rows": [DecisionRow(call, _words(call)) for call in shown],
        "older": f"?{asked.query}&before={shown[-1].pk}" if len(found) > PAGE_SIZE else "",
        "newest": f"?{asked.query}" if asked.before else "",
        "points": _points(asked),
        "names": _NAMES,
        "reasons": _reasons(asked),
        "servers": selectors.called_servers(),
        "choices": [(ALLOW, "Allowed"), (DENY, "Refused")],
        "periods": [
            {"label": f"Last {period.label}", "url": f"?period={name}", "active": name == asked.period_name}
            for name, period in PERIODS.items()
        ],
        "exports": [
            {"label": label, "url": f"../export/?what=decisions&format={name}&{asked.query}"}
            for name, label in (("csv", "CSV"), ("jsonl", "JSON lines"), ("ocsf", "OCSF"))
        ],
    }
    return render(request, "calls/decisions.html", context)


@require_safe
def export_file(request: OrganisationRequest, org: str) -> HttpResponse | StreamingHttpResponse:
    """A log as a file: audit events, or decisions as the page filters them."""
    require(request.membership, Right.VIEW_AUDIT)
    export = reading.make(request.organisation, request.GET.dict(), read(request).wanted, settled=False)
    return deliver(request, export, request.user)


def deliver(request: HttpRequest, export: Export, actor: User | None) -> StreamingHttpResponse:
    """The answer that streams an export; that it was made is recorded first."""
    party = audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM
    with tenant_scope(export.tenant), transaction.atomic():
        data = {"what": export.what, "format": export.form, "after": export.after, "limit": export.limit}
        audit.record("audit:log:exported", actor=party, data=data)
    streamed = reading.pieces_async(export) if isinstance(request, ASGIRequest) else reading.pieces(export)
    headers = {
        "Content-Disposition": f'attachment; filename="{export.file_name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingHttpResponse(streamed, content_type=export.content_type, headers=headers)


def read(request: HttpRequest) -> Asked:
    get = request.GET
    first, last = _day(get.get("from")), _day(get.get("to"))
    name = get.get("period", "") if get.get("period", "") in PERIODS else DEFAULT_PERIOD
    since, until = PERIODS[name].begins(clock.now()), None
    if first or last:
        name, since, until = "", *_between(first, last)
    decision = get.get("decision", "")
    wanted = DecisionFilter(
        since=since,
        until=until,
        server_id=_uuid(get.get("server")),
        tool=_text(get.get("tool")),
        agent=_text(get.get("agent")),
        decision=decision if decision in {ALLOW, DENY} else "",
        reason=_text(get.get("reason")),
    )
    return Asked(wanted, name, first, last, _uuid(get.get("before")))


def _between(first: date | None, last: date | None) -> tuple[datetime, datetime]:
    """Whole days in UTC, a year of them at most."""
    end = max(min(last or clock.now().date(), _LATEST), _EARLIEST) + timedelta(days=1)
    begin = max(first or end - timedelta(days=30), _EARLIEST)
    begin = max(begin, end - timedelta(days=_DAYS_MAX)) if begin < end else end - timedelta(days=1)
    return datetime.combine(begin, datetime.min.time(), UTC), datetime.combine(end, datetime.min.time(), UTC)


def _points(asked: Asked) -> list[tuple[str, list[int]]]:
    """Allowed and denied over the time that is asked for, in steps that fit a chart."""
    wanted = asked.wanted
    assert wanted.since is not None  # read() always sets it
    period = PERIODS[asked.period_name] if asked.period_name else _period_of(wanted)
    found = decisions.count_by_step(wanted, period.step)
    moments = [wanted.since + period.step * index for index in range(period.steps)]
    return [(_label(period, moment), list(found.get(moment, (0, 0)))) for moment in moments]


def _period_of(wanted: DecisionFilter) -> Period:
    assert wanted.since is not None
    assert wanted.until is not None  # of dates
    days = max((wanted.until - wanted.since).days, 1)
    step = timedelta(hours=1) if days <= 2 else timedelta(days=-(-days // _STEPS_MAX))
    return Period(f"{days} days", step, -(-timedelta(days=days) // step))


def _label(period: Period, moment: datetime) -> str:
    return f"{moment:%-d %b}" if period.step >= timedelta(days=1) else f"{moment:%-d %b %H:%M}"


def _reasons(asked: Asked) -> list[dict[str, Any]]:
    """Why it was decided so, as a filter; without narrowing to the one that is chosen."""
    found = decisions.count_by_reason(replace(asked.wanted, reason=""))
    query = replace(asked, wanted=replace(asked.wanted, reason="")).query
    return [
        {
            "label": words_for(reason).short or reason,
            "count": count,
            "url": f"?{query}" if reason == asked.wanted.reason else f"?{query}&{urlencode({'reason': reason})}",
            "active": reason == asked.wanted.reason,
        }
        for reason, _, count in found
    ]


def _words(call: Call) -> Words:
    return words_for(
        call.reason,
        tool=call.tool,
        effect=call.side_effect,
        required=call.trust_required,
        effective=call.trust_effective,
    )


def _text(given: str | None) -> str:
    return (given or "").strip()[:_TEXT_MAX].replace("\x00", "")


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
