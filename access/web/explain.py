"""“What would happen”: the policy decision for a call that nobody makes, with its steps."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from access import engine, foresight, selectors
from access.reasons import trace_rows, words_for, words_for_unknown
from access.types import Decision, Request
from access.web.explaining import ways_to_ask
from access.web.grants import tabs
from access.web.viewing import ask_url, grant_url, viewer_of
from catalog.selectors.listing import find_server
from tenants.choices import Right
from tenants.models import APIKey
from tenants.requests import OrganisationRequest
from tenants.selectors.keys import members_who_act
from tenants.services.rights import who_can

_SERVERS_SHOWN = 500
_KEYS_SHOWN = 500
LIST_TOOLS = "tools/list"


@require_safe
def explain(request: OrganisationRequest, org: str) -> HttpResponse:
    """Answers a GET form, so that an explanation can be linked to."""
    viewer = viewer_of(request)
    keys = list(selectors.list_keys(request.organisation)[:_KEYS_SHOWN])
    servers = list(selectors.callable_servers(viewer).order_by("name")[:_SERVERS_SHOWN])
    key = _key(request, keys)
    server = find_server(viewer, request.GET.get("server", "")) or next(iter(servers), None)
    tools = [tool.name for tool in server.current_version.tools.all()] if server and server.current_version else []
    asked = request.GET.get("tool") or next(iter(tools), LIST_TOOLS)
    tool = "" if asked == LIST_TOOLS else asked if asked in tools else next(iter(tools), "")
    context: dict[str, Any] = {
        "tabs": tabs(request, org, "explain"),
        "ways": ways_to_ask(request, "call"),
        "keys": keys,
        "servers": servers,
        "tools": tools,
        "chosen": {"key": key, "server": server, "tool": tool or LIST_TOOLS},
        "can_manage": request.membership.can(Right.MANAGE_ACCESS),
        "list_tools": LIST_TOOLS,
    }
    if key and server:
        decision = selectors.explain_call(key, server, "tools/call" if tool else LIST_TOOLS, tool)
        context |= _explained(request, decision, tool)
        principal = foresight.principal_of(key, members_who_act(request.organisation))
        call = Request("tools/call" if tool else LIST_TOOLS, tool, environment=key.environment)
        unknown = foresight.hangs_on(principal, request.organisation, server, call, decision)
        context["hangs_on"] = words_for_unknown(unknown)
        context["ask_url"] = ask_url(org, server.slug, key=key.pk, tool=tool, decision=decision)
        context["grant_url"] = grant_url(org, server.slug, key=key.pk, tool=tool, decision=decision)
    return render(request, "access/explain.html", context)


def _explained(request: OrganisationRequest, decision: Decision, tool: str) -> dict[str, Any]:
    words = words_for(
        decision.reason,
        tool=tool,
        effect=decision.side_effect,
        required=decision.trust_required,
        effective=decision.trust_effective,
    )
    grant = selectors.list_grants().filter(pk=decision.grant_id).first() if decision.grant_id else None
    needs_help = words.remedy and not request.membership.can(Right.MANAGE_ACCESS)
    return {
        "decision": decision,
        "words": words,
        "trace": trace_rows(decision.reason, words.why),
        "grant": grant,
        "helpers": who_can(request.membership, Right.MANAGE_ACCESS) if needs_help else "",
        "flow": next((step for step in decision.steps if step.rule == engine.FLOWS), None),
    }


def _key(request: OrganisationRequest, keys: list[APIKey]) -> APIKey | None:
    try:
        wanted = UUID(request.GET.get("key", ""))
    except ValueError:
        return next((key for key in keys if key.state == "active"), None)
    return next((key for key in keys if key.pk == wanted), None)
