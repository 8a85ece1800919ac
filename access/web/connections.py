"""Pages of connections: what the organisation and its people show to servers, and the way to connect an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from access.models import CredentialKind, OAuthClient, UpstreamCredential
from access.services import attempts, clients, connections
from access.web.connection_forms import FORMS, SignInClientForm
from access.web.grants import tabs
from access.web.viewing import get_server, servers_by_id, viewer_of
from catalog.choices import AuthMode
from catalog.models import Server
from catalog.selectors.listing import visible_to
from core.errors import InvalidError, MarketplaceError, NotFoundError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require, who_can

_SERVERS_SHOWN = 500


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    credential: UpstreamCredential
    server: Server | None  # None when the server is no longer for these eyes
    is_mine: bool
    may_change: bool


@require_safe
def connection_list(request: OrganisationRequest, org: str) -> HttpResponse:
    found = list(UpstreamCredential.objects.all())
    servers = servers_by_id(request, (row.server_id for row in found))
    can_manage = request.membership.can(Right.MANAGE_KEYS)
    rows = [
        ConnectionRow(row, servers.get(row.server_id), row.user_id == request.user.pk, _may_change(request, row))
        for row in found
    ]
    context = {
        "rows": rows,
        "clients": OAuthClient.objects.filter(source=clients.ENTERED).order_by("issuer"),
        "tabs": tabs(request, org, "connections"),
        "can_manage": can_manage,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_KEYS),
    }
    return render(request, "access/connections.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def connection_create(request: OrganisationRequest, org: str) -> HttpResponse:
    can_manage = request.membership.can(Right.MANAGE_KEYS)
    if request.method == "POST":
        require(request.membership, Right.MANAGE_KEYS)
    slug = request.GET.get("server", "")
    if not slug:
        return render(request, "access/connection_server.html", _servers_to_choose(request, can_manage=can_manage))
    server = get_server(request, slug)
    kind = request.GET.get("kind", "bearer")
    form_class = FORMS.get(kind, FORMS["bearer"])
    form = form_class(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            form.save(tenant=request.organisation, server=server, actor=request.user)
        except MarketplaceError as error:
            form.refuse(error)
        else:
            messages.success(request, f"Calls to {server.name} carry this credential from this moment on.")
            return redirect("org:connections", org)
    held = UpstreamCredential.objects.filter(server_id=server.pk)
    context = {
        "server": server,
        "form": form,
        "kinds": [
            {"label": each.label, "url": f"?server={server.slug}&kind={name}", "active": isinstance(form, each)}
            for name, each in FORMS.items()
        ],
        "can_manage": can_manage,
        "personal": server.auth_mode == AuthMode.OAUTH,
        "replaces": held.filter(user_id=None).exists(),
        "connected": held.filter(user_id=request.user.pk).exists(),
        "host": urlsplit(server.url).netloc,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_KEYS),
    }
    return render(request, "access/connection_create.html", context)


def _servers_to_choose(request: OrganisationRequest, *, can_manage: bool) -> dict[str, Any]:
    """Without the right to enter credentials of the organisation, only servers that take a person's account."""
    servers = visible_to(viewer_of(request)).exclude(current_version=None).order_by("name")
    if can_manage:
        return {"servers": servers[:_SERVERS_SHOWN], "nothing": "Servers appear here once they are published and read."}
    helpers = who_can(request.membership, Right.MANAGE_KEYS)
    nothing = f"No server takes a person's account. Credentials of the organisation are entered by {helpers}."
    return {"servers": servers.filter(auth_mode=AuthMode.OAUTH)[:_SERVERS_SHOWN], "nothing": nothing}


@require_http_methods(["GET", "HEAD", "POST"])
def connection_client(request: OrganisationRequest, org: str) -> HttpResponse:
    """The client through which people connect their accounts: who is asked is shown before anything is entered."""
    require(request.membership, Right.MANAGE_KEYS)
    server = get_server(request, request.GET.get("server", ""))
    context: dict[str, Any] = {"server": server, "redirect_uri": connections.redirect_uri()}
    if request.method == "POST":
        try:
            if "client_id" in request.POST:
                form = SignInClientForm(request.POST)
                if form.is_valid() and _enter_client(request, server, form):
                    return redirect(f"{reverse('org:connection-create', args=[org])}?server={server.slug}")
                context |= {"form": form, "issuer": form["issuer"].value()}
            else:
                found = clients.authority_of(server)
                known = OAuthClient.objects.filter(issuer=found.issuer).first()
                context |= {"issuer": found.issuer, "known": known, "registers": bool(found.registration_endpoint)}
                context["form"] = SignInClientForm(initial={"issuer": found.issuer})
        except MarketplaceError as error:
            messages.error(request, f"{error.message} {error.next_step}")
            return redirect(f"{request.path}?server={server.slug}")
    return render(request, "access/connection_client.html", context)


def _enter_client(request: OrganisationRequest, server: Server, form: SignInClientForm) -> bool:
    """False when the form says what is wrong with it; other refusals are raised."""
    try:
        row = clients.enter(tenant=request.organisation, server=server, actor=request.user, **form.cleaned_data)
    except InvalidError as error:
        form.refuse(error)
        return False
    messages.success(request, f"People connect their accounts at {row.issuer} through this client from now on.")
    return True


@require_http_methods(["GET", "HEAD", "POST"])
def connection_client_forget(request: OrganisationRequest, org: str, registration_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_KEYS)
    row = OAuthClient.objects.filter(pk=registration_id, source=clients.ENTERED).first()
    if row is None:
        raise NotFoundError("There is no such client in this organisation.")
    if request.method == "POST":
        clients.forget(registration_id=row.pk, actor=request.user)
        messages.success(request, f"The client at {row.issuer} is forgotten. Accounts that are connected stay so.")
        return redirect("org:connections", org)
    return render(request, "access/connection_client_forget.html", {"row": row})


@require_POST
def connection_connect(request: OrganisationRequest, org: str) -> HttpResponse:
    """The last page before the authorization server: it says whom the person is about to meet, and what for."""
    server = get_server(request, request.POST.get("server", ""))
    try:
        departure = attempts.begin(
            tenant=request.organisation, server=server, user=request.user, session_key=_session_key(request)
        )
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}")
        return redirect(f"{reverse('org:connection-create', args=[org])}?server={server.slug}")
    context = {
        "server": server,
        "departure": departure,
        "host": urlsplit(departure.url).netloc,
        "facts": [
            {"label": "Server", "value": f"{server.name} ({urlsplit(server.url).netloc})"},
            {"label": "Account at", "value": departure.issuer},
            {"label": "Asks for", "value": departure.scope or "what the authorization server gives by default"},
            {"label": "Used by", "value": "calls of your own API keys in this organisation, nobody else's"},
        ],
    }
    response = render(request, "access/connection_leave.html", context)
    response["Cache-Control"] = "no-store"
    return response


@login_required
@require_safe
def came_back(request: HttpRequest) -> HttpResponse:
    """The one address that authorization servers know: it sends on to the organisation that the state names."""
    org = attempts.organisation_of(request.GET.get("state", ""))
    if not org:
        raise NotFoundError("This address is for answers of authorization servers.")
    return redirect(f"{reverse('org:connection-callback', args=[org])}?{request.GET.urlencode()}")


@require_safe
def connection_callback(request: OrganisationRequest, org: str) -> HttpResponse:
    try:
        credential = attempts.finish(
            tenant=request.organisation,
            user=request.user,
            session_key=_session_key(request),
            answer={name: request.GET[name] for name in ("state", "code", "iss", "error") if name in request.GET},
        )
    except MarketplaceError as error:
        messages.error(request, f"The account is not connected. {error.message} {error.next_step}")
    else:
        messages.success(request, f"Your account for {credential.server.name} is connected.")
    return redirect("org:connections", org)


@require_POST
def connection_test(request: OrganisationRequest, org: str, connection_id: UUID) -> HttpResponse:
    row = _get(request, connection_id)
    server = servers_by_id(request, [row.server_id]).get(row.server_id)
    if server is None:
        raise NotFoundError("The server of this connection is no longer listed.")
    tested = connections.test(request.organisation, row.pk, server)
    tell = messages.success if tested.status == "active" else messages.error
    tell(request, f"{server.name}: {tested.status_detail}")
    return redirect("org:connections", org)


@require_http_methods(["GET", "HEAD", "POST"])
def connection_remove(request: OrganisationRequest, org: str, connection_id: UUID) -> HttpResponse:
    row = _get(request, connection_id)
    if request.method == "POST":
        connections.remove(tenant=request.organisation, credential_id=row.pk, actor=request.user)
        messages.success(request, "The connection is removed. No call carries it from this moment on.")
        return redirect("org:connections", org)
    server = servers_by_id(request, [row.server_id]).get(row.server_id)
    facts: list[dict[str, Any]] = [
        {"label": "Server", "value": server.name if server else "no longer listed"},
        {"label": "Kind", "value": row.get_kind_display()},
        {"label": "For", "value": row.user_label or "every key of the organisation"},
    ]
    return render(request, "access/connection_remove.html", {"facts": facts})


def _get(request: OrganisationRequest, connection_id: UUID) -> UpstreamCredential:
    """A connection that this person may change: their own, or with the right to manage keys any. Raises accordingly."""
    row = UpstreamCredential.objects.filter(pk=connection_id).first()
    if row is None:
        raise NotFoundError("There is no such connection in this organisation.")
    if not _may_change(request, row):
        require(request.membership, Right.MANAGE_KEYS)
    return row


def _may_change(request: OrganisationRequest, row: UpstreamCredential) -> bool:
    own = row.kind == CredentialKind.OAUTH_USER and row.user_id == request.user.pk
    return own or request.membership.can(Right.MANAGE_KEYS)


def _session_key(request: HttpRequest) -> str:
    return request.session.session_key or ""
