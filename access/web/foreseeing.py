"""Who can call a tool, what a caller can do, and what a change would mean for the calls of the last days."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from access import foresight, selectors
from access.reasons import words_for, words_for_unknown
from access.services import simulations
from access.types import APPROVAL, SideEffect, Trust
from access.web.explaining import ways_to_ask
from access.web.grants import tabs
from access.web.subjects import chosen_subject, subject_choices
from access.web.viewing import servers_by_id, viewer_of
from catalog.choices import PolicyMode
from catalog.models import Server
from catalog.selectors.listing import find_server
from core.errors import InvalidError, NotFoundError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require

_SERVERS_SHOWN = 500
_ROWS_SHOWN = 1_000
_GRANTS_SHOWN = 300
_UNJUDGED_SHOWN = 20
_FILE_BYTES_MAX = 256 * 1024
_ANSWERS = {"yes": True, "no": False}


@require_safe
def who_can(request: OrganisationRequest, org: str) -> HttpResponse:
    """Everybody and everything that could call a tool, and under which grant."""
    servers = _servers(request)
    server = find_server(viewer_of(request), request.GET.get("server", "")) or next(iter(servers), None)
    tools = _tools(server)
    asked = request.GET.get("tool", "")
    tool = asked if asked in tools else next(iter(tools), "")
    reaches = foresight.who_can(request.organisation, server, tool) if server and tool else []
    context = {
        "tabs": tabs(request, org, "explain"),
        "ways": ways_to_ask(request, "who"),
        "servers": servers,
        "tools": tools,
        "chosen": {"server": server, "tool": tool},
        "reaches": [(reach, _words(reach, tool)) for reach in reaches[:_ROWS_SHOWN]],
        "allowed": sum(reach.decision.allowed and not reach.hangs_on for reach in reaches),
        "open": sum(bool(reach.hangs_on) for reach in reaches),
    }
    return render(request, "access/who.html", context)


@require_safe
def what_can(request: OrganisationRequest, org: str) -> HttpResponse:
    """Every tool that a caller has to do with."""
    callers = foresight.callers(request.organisation)
    asked = request.GET.get("who", "")
    caller = next((each for each in callers if f"{each.kind}:{each.id}" == asked), None) or next(iter(callers), None)
    rows = selectors.callable_servers(viewer_of(request))
    found = foresight.what_can(request.organisation, caller, rows) if caller else []
    only = request.GET.get("only", "")
    shown = [each for each in found if only != "allowed" or each.decision.allowed or each.hangs_on]
    context = {
        "tabs": tabs(request, org, "explain"),
        "ways": ways_to_ask(request, "can"),
        "callers": callers,
        "chosen": caller,
        "only": only,
        "rows": [(each, _words(each, each.tool)) for each in shown[:_ROWS_SHOWN]],
        "allowed": sum(each.decision.allowed and not each.hangs_on for each in found),
        "open": sum(bool(each.hangs_on) for each in found),
        "all": len(found),
    }
    return render(request, "access/can.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def simulate(request: OrganisationRequest, org: str) -> HttpResponse:
    """Propose a change, and see the ones before."""
    _require(request)
    error = ""
    if request.method == "POST":
        try:
            title, change = _proposed(request)
            days = request.POST.get("days", "")
            row = simulations.begin(
                tenant=request.organisation,
                viewer=viewer_of(request),
                actor=request.user,
                title=title,
                change=change,
                days=int(days) if days.isdecimal() and len(days) < 4 else 0,
            )
        except (InvalidError, NotFoundError) as refused:
            error = refused.message
        else:
            return redirect("org:access-simulation", org, row.pk)
    context = {
        "tabs": tabs(request, org, "explain"),
        "ways": ways_to_ask(request, "simulate"),
        "servers": _servers(request),
        "subjects": subject_choices(request.organisation),
        "grants": _grants(request),
        "trusts": [trust.word for trust in Trust],
        "effects": [effect.value for effect in SideEffect],
        "modes": PolicyMode.choices,
        "days": simulations.DAYS,
        "posted": request.POST,
        "kind": request.POST.get("kind") or request.GET.get("kind", "grant"),
        "chosen_grant": request.POST.get("grant") or request.GET.get("grant", ""),
        "chosen_server": request.POST.get("server") or request.GET.get("server", ""),
        "error": error,
        "recent": simulations.recent(),
    }
    return render(request, "access/simulate.html", context, status=422 if error else 200)


@require_safe
def simulation(request: OrganisationRequest, org: str, simulation_id: UUID) -> HttpResponse:
    """What a proposed change would have meant."""
    _require(request)
    row = simulations.find(simulation_id)
    result = row.result
    unknown: dict[str, int] = result.get("unknown_for", {})
    context = {
        "tabs": tabs(request, org, "explain"),
        "ways": ways_to_ask(request, "simulate"),
        "row": row,
        "result": result,
        "chart": [(day[5:], sums) for day, *sums in result.get("days", [])],
        "chart_names": ["would gain", "would lose", "would wait"][: len(next(iter(result.get("days", [])), [0])) - 1],
        "unknown": [(words_for_unknown(kinds.split("_and_")), calls) for kinds, calls in unknown.items()],
        "unjudged": [
            each | {"words": words_for_unknown(each["hangs_on"])}
            for each in result.get("unjudged", [])[:_UNJUDGED_SHOWN]
        ],
        "samples": [_sample(each) for each in result.get("samples", [])],
        "nothing_text": "Every other call of these days would be decided as it is."
        if unknown
        else "Every call of these days would be decided as it is.",
        "again_url": f"{reverse('org:access-simulate', args=[org])}?{urlencode({'kind': row.change.get('kind', '')})}",
    }
    return render(request, "access/simulation.html", context)


def _require(request: OrganisationRequest) -> None:
    """Who manages access, and who audits it."""
    if not request.membership.can(Right.VIEW_AUDIT):
        require(request.membership, Right.MANAGE_ACCESS)


def _words(found: foresight.Reach | foresight.Reached, tool: str) -> str:
    """Why it is so, or on what it depends."""
    if found.hangs_on:
        return words_for_unknown(found.hangs_on)
    decision = found.decision
    if decision.allowed and APPROVAL in decision.obligations:
        return "when a person approves the call"
    return "" if decision.allowed else words_for(decision.reason, tool=tool).short


def _sample(each: dict[str, Any]) -> dict[str, Any]:
    return each | {
        "before_words": words_for(each["before"], tool=each["tool"]).short,
        "after_words": words_for(each["after"], tool=each["tool"]).short,
    }


def _proposed(request: OrganisationRequest) -> tuple[str, dict[str, Any]]:
    """The change that a form describes, and its name. Raises InvalidError."""
    kind = request.POST.get("kind", "")
    if kind == "revoke":
        wanted = _uuid(request.POST.get("grant"))
        grant = selectors.list_grants().filter(pk=wanted).first() if wanted else None
        if grant is None:
            raise InvalidError("Choose the grant that would be revoked.", field="grant")
        return f"Revoke {grant.subject_label or grant.name}", {"kind": kind, "grant": str(grant.pk)}
    if kind == "files":
        return "A policy file", {"kind": kind, "text": _file_text(request), "prune": bool(request.POST.get("prune"))}
    server = find_server(viewer_of(request), request.POST.get("server", ""))
    if server is None:
        raise InvalidError("Choose a server.", field="server")
    if kind == "grant":
        return _proposed_grant(request, server)
    if kind == "policy":
        return _proposed_policy(request, server)
    raise InvalidError("Choose what would change.", field="kind")


def _proposed_grant(request: OrganisationRequest, server: Server) -> tuple[str, dict[str, Any]]:
    choices = subject_choices(request.organisation)
    value = request.POST.get("subject", "")
    if not any(value == entry for _, entries in choices for entry, _ in entries):
        raise InvalidError("Choose who would be given access.", field="subject")
    subject = chosen_subject(choices, value, "")
    change = {
        "kind": "grant",
        "server": str(server.pk),
        "subject": {
            "user": subject.user,
            "agent": subject.agent,
            "team": subject.team,
            "key": subject.key,
            "everyone": subject.everyone,
        },
        "max_trust": request.POST.get("max_trust", ""),
        "side_effects": request.POST.getlist("side_effects"),
        "tools": [name.strip() for name in request.POST.get("tools", "").split(",") if name.strip()],
    }
    return f"Give {subject.label or 'access'} {server.name}", change


def _proposed_policy(request: OrganisationRequest, server: Server) -> tuple[str, dict[str, Any]]:
    tool = request.POST.get("tool", "").strip()
    change: dict[str, Any]
    if tool:
        change = {
            "kind": "tool",
            "server": str(server.pk),
            "tool": tool,
            "required_trust": request.POST.get("trust", ""),
            "needs_approval": _ANSWERS.get(request.POST.get("needs_approval", "")),
        }
        return _title_of_tool(change, server), change
    session = _ANSWERS.get(request.POST.get("session_required", ""))
    change = {
        "kind": "policy",
        "server": str(server.pk),
        "mode": request.POST.get("mode", ""),
        "default_decision": request.POST.get("default_decision", ""),
        "required_trust": request.POST.get("trust", ""),
        "session_required": session,
    }
    return f"Another policy of {server.name}", change


def _title_of_tool(change: dict[str, Any], server: Server) -> str:
    told = [f"needs {change['required_trust']} trust"] if change["required_trust"] else []
    if change["needs_approval"] is not None:
        told.append("needs a person for each call" if change["needs_approval"] else "needs no person")
    return f"{change['tool']} of {server.name} {' and '.join(told) or 'changes'}"


def _file_text(request: OrganisationRequest) -> str:
    upload = request.FILES.get("file")
    if upload is None:
        return request.POST.get("text", "")
    if upload.size is None or upload.size > _FILE_BYTES_MAX:
        raise InvalidError(f"A policy file has at most {_FILE_BYTES_MAX // 1024} KiB.", field="file")
    try:
        return upload.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidError("The file is no text in UTF-8.", field="file") from error


def _servers(request: OrganisationRequest) -> list[Server]:
    return list(selectors.callable_servers(viewer_of(request)).order_by("name")[:_SERVERS_SHOWN])


def _tools(server: Server | None) -> list[str]:
    return [tool.name for tool in server.current_version.tools.all()] if server and server.current_version else []


def _grants(request: OrganisationRequest) -> list[tuple[str, str]]:
    rows = list(selectors.live_grants()[:_GRANTS_SHOWN])
    servers = servers_by_id(request, (grant.server_id for grant in rows))
    return [
        (str(grant.pk), f"{grant.subject_label or grant.name}: {servers[grant.server_id].name}")
        for grant in rows
        if grant.server_id in servers
    ]


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
