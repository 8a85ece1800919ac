"""Pages of sessions of agents: which there are, issuing and revoking them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from access import selectors
from access.models import AgentSession
from access.services import sessions
from access.services.grants import Subject
from access.types import SubjectKind, Trust
from access.web.forms import ServiceForm
from access.web.grants import tabs
from access.web.subjects import Choices, subject_choices
from access.web.terms import TRUST_LABELS
from access.web.viewing import get_server, servers_by_id, viewer_of
from catalog.models import Server
from catalog.selectors.listing import visible_to
from core import clock
from core.errors import MarketplaceError, NotFoundError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require, who_can

PAGE_SIZE = 50
_SERVERS_SHOWN = 500
_STATES = (("active", "Active"), ("ended", "Revoked or expired"), ("all", "All"))
_LIVES = [("1", "For an hour"), ("8", "For eight hours"), ("24", "For a day"), ("168", "For a week")]
_OF_SESSIONS = {"Agents", "People", "Teams"}


@dataclass(frozen=True, slots=True)
class SessionRow:
    session: AgentSession
    server: Server | None  # None when the server is no longer for these eyes


class SessionForm(ServiceForm):
    subject = forms.ChoiceField(label="Whose", required=False)
    agent = forms.CharField(
        max_length=100, required=False, label="Or an agent by name", help_text="Any key that carries this agent name."
    )
    consented_trust = forms.ChoiceField(
        choices=TRUST_LABELS,
        initial=Trust.LOW.word,
        widget=forms.RadioSelect,
        label="Trust at most",
        help_text="Calls within the session never count for more, whatever the grants give.",
    )
    life = forms.ChoiceField(
        choices=_LIVES,
        initial="8",
        label="Lives",
        help_text="The server's policy may end it earlier, or when nobody uses it for a while.",
    )
    name = forms.CharField(
        max_length=253, required=False, help_text="Callers send it with every call. Empty: one is made up."
    )

    def __init__(self, *args: Any, subjects: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["subject"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "Choose…"), *((name, entries) for name, entries in subjects if name in _OF_SESSIONS)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool(cleaned.get("subject")) == bool(cleaned.get("agent")) and "subject" not in self.errors:
            self.add_error("subject", "Choose whose session it is, or name an agent; one of the two.")
        return cleaned


@require_safe
def session_list(request: OrganisationRequest, org: str) -> HttpResponse:
    state, everything = request.GET.get("state", "active"), selectors.list_sessions()
    ended = Q(revoked_at__isnull=False) | Q(expires_at__lte=clock.now())
    rows = {"active": everything.exclude(ended), "ended": everything.filter(ended)}.get(state, everything)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    servers = servers_by_id(request, (session.server_id for session in page.object_list))
    can_manage = request.membership.can(Right.MANAGE_ACCESS)
    context = {
        "page": page,
        "rows": [SessionRow(session, servers.get(session.server_id)) for session in page.object_list],
        "any": everything.exists(),
        "states": [{"label": label, "url": f"?state={name}", "active": name == state} for name, label in _STATES],
        "tabs": tabs(request, org, "sessions"),
        "can_manage": can_manage,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_ACCESS),
    }
    return render(request, "access/sessions.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def session_create(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    slug = request.GET.get("server", "")
    if not slug:
        servers = visible_to(viewer_of(request)).exclude(current_version=None).order_by("name")[:_SERVERS_SHOWN]
        return render(request, "access/session_server.html", {"servers": servers})
    server, subjects = get_server(request, slug), subject_choices(request.organisation)
    form = SessionForm(request.POST or None, subjects=subjects)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            session = sessions.issue(
                tenant=request.organisation,
                server=server,
                subject=_subject(subjects, data["subject"], data["agent"].strip()),
                actor=request.user,
                consented_trust=data["consented_trust"],
                expires_at=clock.now() + timedelta(hours=int(data["life"])),
                name=data["name"].strip(),
            )
        except MarketplaceError as error:
            form.refuse(error)
        else:
            messages.success(request, f"The session {session.name} of {session.who} is open.")
            return redirect("org:sessions", org)
    return render(request, "access/session_create.html", {"form": form, "server": server})


@require_http_methods(["GET", "HEAD", "POST"])
def session_revoke(request: OrganisationRequest, org: str, session_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_ACCESS)
    if request.method == "POST":
        session = sessions.revoke(tenant=request.organisation, session_id=session_id, actor=request.user)
        messages.success(request, f"The session {session.name} is revoked.")
        return redirect("org:sessions", org)
    found = selectors.list_sessions().filter(pk=session_id).first()
    if found is None:
        raise NotFoundError("There is no such session in this organisation.")
    server = servers_by_id(request, [found.server_id]).get(found.server_id)
    facts = [
        {"label": "Session", "value": found.name},
        {"label": "Whose", "value": f"{found.who} ({found.kind_words})"},
        {"label": "Server", "value": server.name if server else "no longer listed"},
    ]
    return render(request, "access/session_revoke.html", {"session": found, "facts": facts})


def _subject(choices: Choices, value: str, agent: str) -> Subject:
    if agent:
        return Subject.of(SubjectKind.AGENT, agent, agent)
    kind, _, identity = value.partition(":")
    label = next(label for _, entries in choices for entry, label in entries if entry == value)
    return Subject.of(kind, identity, label)
