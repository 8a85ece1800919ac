"""Pages of an organisation's keys: list, create, shown once, revoke."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from access import selectors
from access.services.connect import connect, connect_client
from access.web.forms import KeyForm, ListsForm
from access.web.loads import Loads
from access.web.terms import LEVELS, expiry
from access.web.viewing import get_server, servers_by_id, tool_to_try, viewer_of
from catalog import snippets
from catalog.models import Server
from core import clock
from core.errors import MarketplaceError, NotFoundError
from tenants.choices import ListForm, Right, Scope
from tenants.models import APIKey
from tenants.requests import OrganisationRequest
from tenants.selectors import consents
from tenants.services import api_keys
from tenants.services import consents as consent_services
from tenants.services.api_keys import IssuedKey
from tenants.services.consents import MachineClient
from tenants.services.rights import require, who_can

PAGE_SIZE = 50
FIRST_CALLS_SHOWN = 3
# From here on the definitions cost a model more context than searching them does.
MANY_TOOLS = 40
_SENT_FORMS, _SENT_FORMS_MAX = "key_forms_sent", 20
_STATES = [("active", "Active"), ("ended", "Revoked or expired"), ("all", "All")]


@dataclass(frozen=True, slots=True)
class KeyRow:
    key: APIKey
    servers: list[str]
    hidden: int  # servers of the key that this person may not see
    loads: Loads | None  # None once the key is over


@require_safe
def key_list(request: OrganisationRequest, org: str) -> HttpResponse:
    state = request.GET.get("state", "active")
    keys = selectors.list_keys(request.organisation)
    ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=clock.now())
    wanted = {"active": keys.exclude(ended), "ended": keys.filter(ended)}.get(state, keys)
    page = Paginator(wanted, PAGE_SIZE).get_page(request.GET.get("page"))
    can_manage = request.membership.can(Right.MANAGE_KEYS)
    context = {
        "page": page,
        "rows": _rows(request, list(page.object_list)),
        "states": [{"label": label, "url": f"?state={name}", "active": name == state} for name, label in _STATES],
        "any": keys.exists(),
        "applications": consents.live(request.organisation).select_related("user", "client__keys"),
        "can_manage": can_manage,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_KEYS),
    }
    return render(request, "access/keys.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def key_create(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.MANAGE_KEYS)
    wanted = request.GET.get("server", "")
    first = [get_server(request, wanted)] if wanted else []
    servers = selectors.callable_servers(viewer_of(request))
    initial = {"servers": [server.pk for server in first]}
    form = KeyForm(
        request.POST or None, initial=initial, servers=servers, first=servers.filter(pk__in=initial["servers"])
    )
    if request.method == "POST" and form.is_valid():
        if _was_sent(request, form.cleaned_data["once"]):
            messages.info(request, "That key was created already and shown once. Create another if it was not stored.")
            return redirect("org:keys", org)
        try:
            return _created(request, form, _issue(request, form))
        except MarketplaceError as error:
            form.refuse(error)
    context = {"form": form, "closed": [server for server in first if not selectors.is_callable(server)]}
    return render(request, "access/key_create.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def key_revoke(request: OrganisationRequest, org: str, key_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_KEYS)
    key = selectors.list_keys(request.organisation).filter(pk=key_id).first()
    if key is None:
        raise NotFoundError("There is no such key in this organisation.")
    if request.method == "POST":
        api_keys.revoke(tenant=request.organisation, key_id=key.pk, actor=request.user)
        messages.success(request, f"“{key.name}” is revoked. Calls with it are refused from this moment on.")
        return redirect("org:keys", org)
    return render(request, "access/key_revoke.html", {"key": key})


@require_http_methods(["GET", "HEAD", "POST"])
def key_identity(request: OrganisationRequest, org: str, key_id: UUID) -> HttpResponse:
    """Whether a key may say for whom it calls."""
    require(request.membership, Right.MANAGE_KEYS)
    key = selectors.list_keys(request.organisation).filter(pk=key_id).first()
    if key is None:
        raise NotFoundError("There is no such key in this organisation.")
    if request.method == "POST":
        asserts = request.POST.get("asserts") == "yes"
        api_keys.set_asserts_identity(tenant=request.organisation, key_id=key.pk, asserts=asserts, actor=request.user)
        what = "may say for whom it calls" if asserts else "calls for itself only"
        messages.success(request, f"“{key.name}” {what} from this moment on.")
        return redirect("org:keys", org)
    return render(request, "access/key_identity.html", {"key": key})


@require_http_methods(["GET", "HEAD", "POST"])
def key_lists(request: OrganisationRequest, org: str, key_id: UUID) -> HttpResponse:
    """What the one address for all servers lists for a key."""
    require(request.membership, Right.MANAGE_KEYS)
    key = selectors.list_keys(request.organisation).filter(pk=key_id).first()
    if key is None:
        raise NotFoundError("There is no such key in this organisation.")
    tools = selectors.tools_of_key(key, selectors.callable_servers(viewer_of(request)))
    asked = request.GET.get("form", "")
    initial = {"form": asked if asked in ListForm.values else key.list_form, "tools": key.chosen_tools}
    form = ListsForm(request.POST or None, initial=initial, offered=tools, kept=key.chosen_tools)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            api_keys.set_lists(
                tenant=request.organisation, key_id=key.pk, form=data["form"], tools=data["tools"], actor=request.user
            )
        except MarketplaceError as error:
            form.refuse(error)
        else:
            messages.success(request, f"Saved what “{key.name}” lists. Agents see it in their next list.")
            return redirect("org:keys", org)
    context = {
        "form": form,
        "key": key,
        "tools": len(tools),
        "is_many": len(tools) > MANY_TOOLS,
        "address": f"{settings.PUBLIC_URL}/mcp",
    }
    return render(request, "access/key_lists.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def application_revoke(request: OrganisationRequest, org: str, consent_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_KEYS)
    consent = consents.live(request.organisation).filter(pk=consent_id).first()
    if consent is None:
        raise NotFoundError("There is no such application in this organisation.")
    if request.method == "POST":
        consent_services.revoke(consent.pk, tenant=request.organisation, actor=request.user)
        messages.success(request, f"“{consent.name}” is revoked. It is refused from this moment on.")
        return redirect("org:keys", org)
    return render(request, "access/application_revoke.html", {"consent": consent})


def _was_sent(request: OrganisationRequest, once: str) -> bool:
    return once in request.session.get(_SENT_FORMS, [])


def _issue(request: OrganisationRequest, form: KeyForm) -> IssuedKey | MachineClient:
    data = form.cleaned_data
    servers = list(data["servers"])
    if servers:
        # The key comes with grants, and giving access is a right of its own.
        require(request.membership, Right.MANAGE_ACCESS)
    level = LEVELS[data["level"]]
    is_client = data["kind"] in {"client", "signing"}
    make = connect_client if is_client else connect
    # Which tools there are to choose is known once the key has its grants.
    lists = ListForm.SEARCH if data["lists"] == ListForm.CHOSEN else data["lists"] or ListForm.ALL
    return make(
        tenant=request.organisation,
        name=data["name"],
        scopes=data["scopes"],
        servers=servers,
        actor=request.user,
        agent=data["agent"],
        networks=data["networks"],
        expires_at=expiry(data["expiry"]),
        only_these_servers=data["only_these"],
        max_trust=level.trust.word,
        side_effects=level.side_effects,
        list_form=ListForm.ALL if is_client else lists,
        public_keys=data["public_keys"],
        asserts_identity=data["asserts_identity"] and not is_client,
        environment="" if is_client else data["environment"].strip(),
    )


def _created(request: OrganisationRequest, form: KeyForm, issued: IssuedKey | MachineClient) -> HttpResponse:
    """The one page that shows the secret; no cache and no history keeps it."""
    sent = request.session.get(_SENT_FORMS, [])
    request.session[_SENT_FORMS] = [*sent, form.cleaned_data["once"]][-_SENT_FORMS_MAX:]
    servers = list(form.cleaned_data["servers"])
    context: dict[str, Any] = {
        "issued": issued,
        "servers": servers,
        "level": LEVELS[form.cleaned_data["level"]],
        "next_url": reverse("org:keys", args=[request.organisation.slug]),
    }
    if isinstance(issued, MachineClient):
        template = "access/client_created.html"
        context |= {"token_url": f"{settings.PUBLIC_URL}/oauth/token", "issuer": settings.PUBLIC_URL}
    else:
        template = "access/key_created.html"
        if form.cleaned_data["lists"] == ListForm.CHOSEN:
            context["next_url"] = reverse("org:key-lists", args=[request.organisation.slug, issued.key.pk])
            context["next_url"] += f"?form={ListForm.CHOSEN}"
            context["chooses"] = True
        context["can_invoke"] = Scope.INVOKE in issued.key.scopes
        context["first_calls"] = _first_calls(servers, issued.text)
    response = render(request, template, context)
    response["Cache-Control"] = "no-store"
    return response


def _first_calls(servers: list[Server], key: str) -> list[dict[str, Any]]:
    """How to use each server with this key, as far as they are worth showing."""
    return [
        {
            "server": server,
            "snippets": [*_curl(server, key), *snippets.for_server(settings.PUBLIC_URL, server.slug, key)],
        }
        for server in servers[:FIRST_CALLS_SHOWN]
    ]


def _curl(server: Server, key: str) -> list[snippets.Snippet]:
    tool = tool_to_try(server)
    return [snippets.invoke_with_curl(settings.PUBLIC_URL, server.slug, tool, key)] if tool else []


def _rows(request: OrganisationRequest, keys: list[APIKey]) -> list[KeyRow]:
    servers = servers_by_id(request, (pk for key in keys for pk in key.server_ids))
    tools = selectors.tools_of_keys(keys, selectors.callable_servers(viewer_of(request)))
    return [
        KeyRow(
            key=key,
            servers=[servers[pk].name for pk in key.server_ids if pk in servers],
            hidden=sum(pk not in servers for pk in key.server_ids),
            loads=Loads.of(key.list_form, tools[key.pk], key.chosen_tools) if key.state == "active" else None,
        )
        for key in keys
    ]
