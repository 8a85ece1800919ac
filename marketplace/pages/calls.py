"""The call log of an organisation: every governed call, newest first and live, and the whole story of one.

It stands here and not in `calls`, because it says calls together with the keys, grants and servers that they were about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from access import selectors as access
from access.models import CredentialKind
from access.reasons import Words, trace_rows, words_for
from access.web.viewing import ask_url, grant_url, servers_by_id, tool_to_try
from calls import selectors
from calls.charts import DEFAULT_PERIOD, PERIODS, SERIES, Period
from calls.models import Call
from calls.overview import Overview, overview
from calls.record import Outcome
from calls.selectors import CallFilter
from calls.timings import Step, decode
from catalog import snippets
from catalog.models import Server
from core import clock
from core.errors import NotFoundError
from core.ui.formats import exact_amount, short_amount
from tenants.choices import Right
from tenants.models import APIKey
from tenants.requests import OrganisationRequest
from tenants.selectors.people import list_members
from tenants.services.rights import require, who_can

PAGE_SIZE = 25
_NO_CONTENT = 204
_GRANTS_LOOKED_AT = 20
_TEXT_MAX = 128
_OUTCOMES = [
    ("allowed", "Allowed"),
    (Outcome.DENIED, "Refused"),
    (Outcome.OK, "OK"),
    (Outcome.TOOL_ERROR, "Tool error"),
    (Outcome.UPSTREAM_ERROR, "Server error"),
    (Outcome.TIMEOUT, "Timed out"),
    (Outcome.UNKNOWN, "Unknown"),
]
# The steps that the gateway marks, in words; one that is missing here is shown by its name.
_STEPS = {
    "authenticate": "Key checked",
    "body": "Request read",
    "decide": "Policy decided",
    "admit": "Limits checked",
    "intent": "Intent noted",
    "connect": "Connected",
    "first_byte": "Server began to answer",
    "reply": "Answer arrived",
    "rest": "Answer prepared",
}
_UNANSWERED = frozenset({Outcome.UPSTREAM_ERROR, Outcome.TIMEOUT})
_AT_THE_SERVER = frozenset({"first_byte", "reply"})
_FAILED_REPLY = "Server failed"
_REST_MIN_US = 10  # less than is shown
# As whom the server met us, by the parts of what is stored.
_IDENTITIES = {"jwt": "the marketplace, by a signed token", "none": "nobody"}
# What became of an allowed call, and what to do about it.
_ENDINGS = {
    Outcome.OK: ("The server answered.", ""),
    Outcome.TOOL_ERROR: (
        "The server answered, and its answer was an error.",
        "Compare the arguments with the tool's schema on the server's page.",
    ),
    Outcome.UPSTREAM_ERROR: ("The server gave no usable answer.", "Look at the server's health, then repeat the call."),
    Outcome.TIMEOUT: ("The server did not answer in time.", "Repeat the call later, or ask for less at once."),
    Outcome.UNKNOWN: (
        "The call was interrupted, and whether the server acted is not known. It is not charged.",
        "Check at the server before you repeat a call that changes something.",
    ),
}
_NOT_SENT = (
    "It was not sent: the server keeps failing and is left alone for a while.",
    "Repeat the call when the server has recovered; the page Live shows its state.",
)
_OURS = ("It was answered here, from what the key's grants allow; no server was asked for this.", "")


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call with the names that its ids stand for. `server` is None when it is unknown or not for these eyes."""

    call: Call
    key: APIKey | None
    server: Server | None
    words: Words
    is_new: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether the gateway answered by itself, about every server of the key."""
        return self.call.allowed and self.call.server_id is None and not self.call.server_name


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, read once."""

    period_name: str
    wanted: CallFilter
    before: UUID | None
    after: UUID | None
    query: str  # the filter without the place in the list

    @property
    def period(self) -> Period:
        return PERIODS[self.period_name]

    @property
    def is_narrowed(self) -> bool:
        wanted = self.wanted
        return bool(wanted.server_id or wanted.tool or wanted.api_key_id or wanted.outcome)


@require_safe
def call_list(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.VIEW_CALLS)
    asked = _read(request)
    if request.htmx and "after" in request.GET:
        newest = selectors.newest_call(asked.wanted)
        if newest is None or newest == asked.after:
            return HttpResponse(status=_NO_CONTENT)
        return render(request, "calls/_live.html", _list_context(request, asked) | {"swapped": True})
    context = _list_context(request, asked) | {
        "periods": [
            {"label": f"Last {period.label}", "url": _with(asked, period=name), "active": name == asked.period_name}
            for name, period in PERIODS.items()
        ],
        "servers": selectors.called_servers(),
        "keys": access.list_keys(request.organisation),
        "outcomes": _OUTCOMES,
    }
    return render(request, "calls/list.html", context)


@require_safe
def call_detail(request: OrganisationRequest, org: str, call_id: UUID) -> HttpResponse:
    require(request.membership, Right.VIEW_CALLS)
    call = selectors.find_call(call_id)
    if call is None:
        raise NotFoundError("There is no such call in this organisation.", next_step="See the list of calls.")
    return render(request, "calls/detail.html", story_of(request, call))


def story_of(request: OrganisationRequest, call: Call) -> dict[str, Any]:
    """All that is to be said of one call: the decision with its steps, the grant, the times, what to do next."""
    [row] = _rows(request, [call], after=None)
    return {
        "row": row,
        "call": call,
        "on_behalf_of": _on_behalf_of(request, row),
        "ending": _ending(row),
        # One answer about every server rests on a decision for each; there is no single chain of checks to show.
        "trace": [] if row.is_ours else trace_rows(call.reason, row.words.why, call.method or "tools/call"),
        "met_as": _met_as(call.upstream_auth),
        "grant": access.list_grants().filter(pk=call.grant_id).first() if call.grant_id else None,
        "version": _version(row),
        "gateway_ms": max(call.latency_ms - call.upstream_ms, 0),
        "remedy": _remedy(request, row),
        "steps": _steps(call),
        "today_url": _today_url(request, row),
    }


def _on_behalf_of(request: OrganisationRequest, row: CallRow) -> str:
    """The human of the call: a member or one who was, or somebody whom only the key knows."""
    call, maker = row.call, row.key.created_by if row.key else None
    if call.asserted_human or call.user_id is None:
        return call.asserted_human
    if maker is not None and maker.pk == call.user_id:
        return maker.email
    member = list_members(request.organisation).filter(user_id=call.user_id).first()
    return member.user.email if member else "a person who is no member any more"


def _ending(row: CallRow) -> tuple[str, str]:
    call = row.call
    if not call.allowed:
        return "", ""
    if row.is_ours:
        return _OURS
    if call.outcome == Outcome.UPSTREAM_ERROR and not call.attempts:
        return _NOT_SENT
    return _ENDINGS.get(Outcome(call.outcome), ("", ""))


def _met_as(stored: str) -> str:
    """What we showed to the server, in words."""
    kinds = dict(CredentialKind.choices)
    return ", and ".join(_IDENTITIES.get(part, kinds.get(part, part).lower()) for part in stored.split("+") if part)


def _steps(call: Call) -> list[dict[str, Any]]:
    """Each step with its time and its place in the whole, in percent; what no step accounts for is the last one."""
    steps = decode(call.timings)
    marked = max((step.began_us + step.took_us for step in steps), default=0)
    rest = round(call.latency_ms * 1000) - marked
    if steps and rest >= _REST_MIN_US:
        steps.append(Step("rest", marked, rest))
    whole = max(marked + max(rest, 0), 1)
    labels = _STEPS | ({"reply": _FAILED_REPLY} if call.outcome in _UNANSWERED else {})
    return [
        {
            "label": labels.get(step.name, step.name),
            "ms": step.took_us / 1000,
            "begins": f"{min(100 * step.began_us / whole, 99.5):.2f}",
            "width": f"{max(100 * step.took_us / whole, 0.5):.2f}",
            "ours": step.name not in _AT_THE_SERVER,
        }
        for step in steps
    ]


def _read(request: OrganisationRequest) -> Asked:
    """Whatever in the address cannot be read is left out: a shared link never fails."""
    get = request.GET
    name = get.get("period", "") if get.get("period", "") in PERIODS else DEFAULT_PERIOD
    outcome = get.get("outcome", "")
    wanted = CallFilter(
        since=PERIODS[name].begins(clock.now()),
        server_id=_uuid(get.get("server")),
        tool=get.get("tool", "").strip()[:_TEXT_MAX].replace("\x00", ""),
        api_key_id=_uuid(get.get("key")),
        outcome=outcome if outcome in dict(_OUTCOMES) else "",
    )
    kept = {
        "period": name,
        "server": wanted.server_id,
        "tool": wanted.tool,
        "key": wanted.api_key_id,
        "outcome": wanted.outcome,
    }
    query = urlencode({key: value for key, value in kept.items() if value})
    return Asked(name, wanted, _uuid(get.get("before")), _uuid(get.get("after")), query)


def _list_context(request: OrganisationRequest, asked: Asked) -> dict[str, Any]:
    calls = selectors.list_calls(asked.wanted, limit=PAGE_SIZE + 1, before=asked.before)
    found = overview(asked.wanted, asked.period)
    shown = calls[:PAGE_SIZE]
    newest = shown[0].pk if shown else ""
    context: dict[str, Any] = {
        "asked": asked,
        "rows": _rows(request, shown, after=asked.after),
        "older": f"?{asked.query}&before={shown[-1].pk}" if len(calls) > PAGE_SIZE else "",
        "first": f"?{asked.query}",
        # Only the top of the list is live: older rows never change.
        "live": "" if asked.before else f"?{asked.query}&after={newest}",
        "found": found,
        "tiles": _tiles(found, asked.period),
        "series": SERIES,
    }
    if not shown and not asked.before:
        context |= _empty(request, asked)
    return context


def _rows(request: OrganisationRequest, calls: list[Call], *, after: UUID | None) -> list[CallRow]:
    keys = access.list_keys(request.organisation).in_bulk({call.api_key_id for call in calls if call.api_key_id})
    servers = servers_by_id(request, (call.server_id for call in calls))
    return [
        CallRow(
            call=call,
            key=keys.get(call.api_key_id) if call.api_key_id else None,
            server=servers.get(call.server_id) if call.server_id else None,
            words=words_for(
                call.reason,
                tool=call.tool,
                effect=call.side_effect,
                required=call.trust_required,
                effective=call.trust_effective,
            ),
            is_new=after is not None and call.pk > after,
        )
        for call in calls
    ]


def _tiles(found: Overview, period: Period) -> list[dict[str, Any]]:
    totals, share = found.totals, found.allowed_share
    refused, failed = totals.denied, totals.failed
    return [
        {
            "label": "Calls",
            "value": f"{totals.calls:,}",
            "hint": f"in the last {period.label}",
            "trend": found.series.calls,
        },
        {
            "label": "Allowed",
            "value": None if share is None else f"{share:.1f}".removesuffix(".0"),
            "unit": "" if share is None else "%",
            "hint": f"{refused:,} refused, {failed:,} failed",
            "trend": found.series.allowed_share if totals.calls else None,
        },
        {
            "label": "Median latency",
            "value": _ms(totals.median_ms),
            "unit": "" if totals.median_ms is None else "ms",
            "hint": f"95 % within {_ms(totals.p95_ms)} ms" if totals.p95_ms is not None else "no allowed call yet",
            "trend": found.series.median_ms if totals.median_ms is not None else None,
        },
        _spend_tile(found),
    ]


def _spend_tile(found: Overview) -> dict[str, Any]:
    """The largest currency in figures, the others in words."""
    if not found.spend:
        return {"label": "Spend today", "value": "0.00", "unit": "USD", "hint": "nothing priced in 30 days"}
    first, *others = found.spend
    more = "".join(f", {short_amount(each.period, each.currency)} {each.currency}" for each in others)
    return {
        "label": "Spend today",
        "value": short_amount(first.today, first.currency),
        "unit": first.currency,
        "title": exact_amount(first.today, first.currency),
        "hint": f"{short_amount(first.period, first.currency)} {first.currency}{more} in 30 days",
    }


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _empty(request: OrganisationRequest, asked: Asked) -> dict[str, Any]:
    """Nothing to show: because of the filter, because of the period, or because nobody ever called."""
    if asked.is_narrowed:
        return {"empty": "filter", "widest": _with(asked, period="30d"), "unfiltered": f"?period={asked.period_name}"}
    if selectors.has_calls():
        return {"empty": "period", "widest": _with(asked, period="30d")}
    granted = access.live_grants().order_by("pk").values_list("server_id", flat=True)[:_GRANTS_LOOKED_AT]
    server = next(iter(servers_by_id(request, granted).values()), None)
    tool = tool_to_try(server) if server else ""
    first = snippets.invoke_with_curl(settings.PUBLIC_URL, server.slug, tool) if server and tool else None
    return {"empty": "never", "first_call": first, "can_create": request.membership.can(Right.MANAGE_KEYS)}


def _version(row: CallRow) -> str:
    """The label of the release that was called, if the server may still be seen."""
    if row.server is None or row.call.server_version_id is None:
        return ""
    return row.server.versions.filter(pk=row.call.server_version_id).values_list("version", flat=True).first() or ""


def _remedy(request: OrganisationRequest, row: CallRow) -> dict[str, str]:
    """The one next step for this person beside a refused call."""
    call, org = row.call, request.organisation.slug
    if call.allowed or not row.words.remedy:
        return {}
    right = Right.MANAGE_ACCESS if row.words.remedy == "access" else Right.MANAGE_KEYS
    if not request.membership.can(right):
        return {"helpers": who_can(request.membership, right)} | _way_to_ask(org, row)
    if row.words.remedy == "key":
        query = f"?{urlencode({'server': row.server.slug})}" if row.server else ""
        return {"label": "Create key", "url": reverse("org:key-create", args=[org]) + query}
    if row.server is None or call.api_key_id is None:
        return {}
    url = grant_url(org, row.server.slug, key=call.api_key_id, tool=call.tool, decision=call)
    return {"label": "Give access", "url": url}


def _today_url(request: OrganisationRequest, row: CallRow) -> str:
    """The same question asked by the rules of this moment; empty where caller or server are gone."""
    if row.key is None or row.server is None or row.key.state != "active":
        return ""
    query = urlencode({"key": row.key.pk, "server": row.server.slug, "tool": row.call.tool})
    return f"{reverse('org:access-explain', args=[request.organisation.slug])}?{query}"


def _way_to_ask(org: str, row: CallRow) -> dict[str, str]:
    """The form that asks for what the call lacked, where that is access."""
    call = row.call
    if row.words.remedy != "access" or row.server is None or row.key is None:
        return {}
    url = ask_url(org, row.server.slug, key=row.key.pk, tool=call.tool, decision=call)
    return {"label": "Request access", "url": url}


def _with(asked: Asked, **changes: str) -> str:
    pairs = dict(part.split("=", 1) for part in asked.query.split("&")) | changes
    return "?" + "&".join(f"{name}={value}" for name, value in pairs.items())


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
