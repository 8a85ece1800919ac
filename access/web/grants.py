"""Pages of access: who may use which server, giving and revoking it, and what would happen on a call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from access import selectors
from access.models import Grant
from access.services import grants
from access.types import SideEffect, SubjectKind, Trust
from access.web.forms import GrantForm
from access.web.subjects import chosen_subject, subject_choices
from access.web.terms import expiry
from access.web.viewing import get_server, servers_by_id, viewer_of
from catalog.models import Server
from catalog.selectors.listing import visible_to
from core import clock
from core.errors import ConflictError, MarketplaceError, NotFoundError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require, who_can

PAGE_SIZE = 50
_STATES = [("active", "Active"), ("ended", "Revoked or expired"), ("all", "All")]
_SERVERS_SHOWN = 500


@dataclass(frozen=True, slots=True)
class GrantRow:
    grant: Grant
    server: Server | None  # None when the server is no longer for these eyes


@require_safe
def grant_list(request: OrganisationRequest, org: str) -> HttpResponse:
    state, everything = request.GET.get("state", "active"), selectors.list_grants()
    servers = servers_by_id(request, everything.order_by().values_list("server_id", flat=True).distinct())
    rows = _filtered(everything, request, state, servers.values())
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    can_manage = request.membership.can(Right.MANAGE_ACCESS)
    context = {
        "page": page,
        "rows": [GrantRow(grant, servers.get(grant.server_id)) for grant in page.object_list],
        "any": everything.exists(),
        "states": [
            {"label": label, "url": _query(request, state=name), "active": name == state} for name, label in _STATES
        ],
        "servers": sorted(servers.values(), key=lambda server: server.name),
        "kinds": list(SubjectKind),
        "chosen": {name: request.GET.get(name, "") for name in ("server", "kind", "q")} | {"state": state},
        "filtered": any(request.GET.get(name) for name in ("server", "kind", "q")),
        "tabs": tabs(request, org, "grants"),
        "can_manage": can_manage,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_ACCESS),
    }
    return render(request, "access/grants.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def grant_create(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    slug = request.GET.get("server", "")
    if not slug:
        servers = visible_to(viewer_of(request)).exclude(current_version=None).order_by("name")[:_SERVERS_SHOWN]
        return render(request, "access/grant_server.html", {"servers": servers})
    server, subjects = get_server(request, slug), subject_choices(request.organisation)
    tools = list(server.current_version.tools.all()) if server.current_version else []
    form = GrantForm(request.POST or None, initial=_asked(request), subjects=subjects, tools=tools)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            grant = grants.give(
                tenant=request.organisation,
                server=server,
                subject=chosen_subject(subjects, data["subject"], data["agent"]),
                actor=request.user,
                max_trust=data["max_trust"],
                side_effects=data["side_effects"],
                tools=[tool for tool in data["tools"] if tool not in data["approved"]],
                tool_rules=[
                    *({"name": tool, "decision": "deny"} for tool in data["denied"]),
                    *({"name": tool, "approval": True} for tool in data["approved"]),
                ],
                conditions=data["conditions"],
                name=data["name"].strip(),
                expires_at=expiry(data["expiry"]),
                note=data["note"],
            )
        except MarketplaceError as error:
            form.refuse(error)
        else:
            messages.success(request, f"{grant.subject_label} may use {server.name} from this moment on.")
            return redirect("org:access", org)
    context = {"form": form, "server": server, "callable": selectors.is_callable(server)}
    return render(request, "access/grant_create.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def grant_revoke(request: OrganisationRequest, org: str, grant_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    if request.method == "POST":
        grant = grants.revoke(tenant=request.organisation, grant_id=grant_id, actor=request.user)
        messages.success(request, f"The access of {grant.who} is revoked.")
        return redirect("org:access", org)
    found = selectors.list_grants().filter(pk=grant_id).first()
    if found is None:
        raise NotFoundError("There is no such grant in this organisation.")
    server = servers_by_id(request, [found.server_id]).get(found.server_id)
    facts = [
        {
            "label": "Who",
            "value": f"{found.who} ({found.kind_words})",
        },
        {"label": "Server", "value": server.name if server else "no longer listed"},
        {"label": "Tools", "value": tools_in_words(found)},
        {"label": "Given by", "value": found.granted_by_label or "system"},
    ]
    return render(request, "access/grant_revoke.html", {"grant": found, "facts": facts})


@require_POST
def grant_switch(request: OrganisationRequest, org: str, grant_id: UUID) -> HttpResponse:
    """Off when it is on, and on when it is off, as the button said that was pressed."""
    require(request.membership, Right.MANAGE_ACCESS)
    change, words = (grants.disable, "off") if request.POST.get("to") == "off" else (grants.enable, "on")
    try:
        grant = change(tenant=request.organisation, grant_id=grant_id, actor=request.user)
    except ConflictError as error:
        messages.error(request, f"{error.message} {error.next_step}")
    else:
        messages.success(request, f"The access of {grant.who} is switched {words}.")
    return redirect("org:access", org)


def tabs(request: OrganisationRequest, org: str, active: str) -> list[dict[str, Any]]:
    """The pages of access, without those that this person may not open."""
    pages = [
        ("Grants", "org:access", "grants"),
        ("Sessions", "org:sessions", "sessions"),
        ("Policies", "org:policies", "policy"),
        ("Approvals", "org:call-approvals", "approvals"),
        ("Flow", "org:flow", "flow"),
        ("Limits", "org:limits", "limits"),
        ("Connections", "org:connections", "connections"),
        *([("Files", "org:access-files", "files")] if request.membership.can(Right.MANAGE_ACCESS) else []),
        ("What would happen", "org:access-explain", "explain"),
    ]
    return [{"label": label, "url": reverse(name, args=[org]), "active": active == word} for label, name, word in pages]


def _filtered(
    rows: QuerySet[Grant], request: OrganisationRequest, state: str, servers: Iterable[Server]
) -> QuerySet[Grant]:
    ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=clock.now())
    rows = {"active": rows.exclude(ended), "ended": rows.filter(ended)}.get(state, rows)
    if slug := request.GET.get("server"):
        rows = rows.filter(server_id__in=[server.pk for server in servers if server.slug == slug])
    if kind := request.GET.get("kind"):
        rows = rows.filter(_of_kind(kind))
    if words := request.GET.get("q", "").strip()[:100]:
        rows = rows.filter(
            Q(subject_label__icontains=words)
            | Q(name__icontains=words)
            | Q(subject_user__iexact=words)
            | Q(subject_agent__iexact=words)
            | Q(subject_team__iexact=words)
            | Q(subject_key__iexact=words)
        )
    return rows


def _of_kind(kind: str) -> Q:
    """Grants with a part of this kind in their subject."""
    if kind == SubjectKind.ORGANISATION:
        return Q(for_everyone=True)
    return ~Q(**{f"subject_{kind}": ""}) if kind in set(SubjectKind) else Q(pk=None)


def tools_in_words(grant: Grant) -> str:
    """Which tools a grant is about: all, some, and those that it denies."""
    allowed = ", ".join(grant.tools) or ("no tool" if grant.tool_rules else "every tool")
    approved = f"; a person approves each call of {', '.join(grant.approved_tools)}" if grant.approved_tools else ""
    denied = f"; denied: {', '.join(grant.denied_tools)}" if grant.denied_tools else ""
    return allowed + approved + denied


def _query(request: OrganisationRequest, **changes: str) -> str:
    query = request.GET.copy()
    query.pop("page", None)
    for name, value in changes.items():
        query[name] = value
    return "?" + query.urlencode()


def _asked(request: OrganisationRequest) -> dict[str, Any]:
    """What the address asks for, such as the link beside a refused call; the form checks it like typed input."""
    asked: dict[str, Any] = {name: request.GET[name] for name in ("subject", "agent") if name in request.GET}
    if request.GET.get("trust") in {trust.word for trust in Trust}:
        asked["max_trust"] = request.GET["trust"]
    if request.GET.get("effect") in set(SideEffect):
        asked["side_effects"] = [request.GET["effect"]]
    if "tool" in request.GET:
        asked["tools"] = request.GET.getlist("tool")
    return asked
