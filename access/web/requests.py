"""Pages of requests: asking, the lists, one request with its story, and deciding about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from access import selectors as access
from access.models import AccessRequest, Grant
from access.requests import deciding, links, opening, preview, routing, selectors
from access.requests.events import asked_terms, open_terms
from access.requests.giving import server_of
from access.requests.telling import duration_words
from access.services.grants import Subject
from access.types import SideEffect, Trust
from access.web.request_forms import DecisionForm, RequestForm, subject_parts
from access.web.subjects import Choices, subject_choices
from access.web.viewing import get_server, servers_by_id, viewer_of
from catalog.models import Server
from core import clock
from core.errors import ConflictError, MarketplaceError, NotFoundError
from tenants.choices import Right
from tenants.models import Membership
from tenants.requests import OrganisationRequest

PAGE_SIZE = 25
_FILTERS = (("mine", "Mine"), ("decide", "To decide"), ("all", "All"))
_ICONS = {
    "approved": "check",
    "given": "shield",
    "rejected": "x",
    "expired": "clock",
    "asked": "mail",
    "opened": "plus",
}
_KINDS = {"approved": "ok", "given": "ok", "rejected": "bad", "expired": "warn", "escalated": "warn"}


@require_safe
def request_list(request: OrganisationRequest, org: str) -> HttpResponse:
    waiting = selectors.to_decide(request.organisation, request.user)
    shown = request.GET.get("show", "decide" if waiting else "mine")
    rows: Any = {"mine": selectors.mine(request.user), "decide": waiting}.get(
        shown, selectors.visible(request.membership)
    )
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    counts = {"decide": len(waiting), "mine": selectors.mine(request.user).filter(state__in=["open", "asked"]).count()}
    provider = list(selectors.waiting_for_provider()) if request.membership.can(Right.PUBLISH) else []
    context = {
        "page": page,
        "shown": shown,
        "chips": [
            {"label": label, "url": f"?show={name}", "active": name == shown, "count": counts.get(name)}
            for name, label in _FILTERS
        ],
        "provider": provider,
        "hours": selectors.decision_hours(),
        "tabs": tabs(request, "requests"),
        "can_manage": request.membership.can(Right.MANAGE_ACCESS),
    }
    return render(request, "access/requests.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def request_create(request: OrganisationRequest, org: str) -> HttpResponse:
    """Ask for access to the server that the address names. The link of a denied call fills the form."""
    slug = request.GET.get("server", "")
    if not slug:
        servers = access.callable_servers(viewer_of(request)).order_by("name")[:500]
        return render(request, "access/request_server.html", {"servers": servers})
    server = get_server(request, slug)
    form, tools = _form(request, server, _asked(request))
    if request.method == "POST" and form.is_valid():
        try:
            made = opening.open_request(
                actor=request.membership,
                server=server,
                ask=form.ask(),
                origin="call" if request.GET.get("tool") else "page",
            )
        except ConflictError as error:
            if waiting := error.data.get("request_id"):
                messages.info(request, f"{error.message} {error.next_step}")
                return redirect("org:request", org, waiting)
            form.refuse(error)
        except MarketplaceError as error:
            form.refuse(error)
        else:
            messages.success(request, f"Your request for {server.name} is on its way.")
            return redirect("org:request", org, made.pk)
    context = {
        "form": form,
        "server": server,
        "callable": access.is_callable(server),
        "preview": _preview(request, server, tools),
        "steps": routing.route_for(
            request.organisation, server, server.required_trust or "low", [SideEffect.READ]
        ).stages,
        "waiting": selectors.undecided_for(server.pk, request.user),
    }
    return render(request, "access/request_create.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def request_edit(request: OrganisationRequest, org: str, request_id: UUID) -> HttpResponse:
    found = selectors.mine(request.user).filter(pk=request_id).first()
    if found is None:
        raise NotFoundError("There is no such request of yours.")
    if not found.undecided:
        raise ConflictError("This request is decided.", next_step="Ask again if the access is still needed.")
    server = server_of(request.organisation, found)
    form, tools = _form(request, server, _initial(found))
    if request.method == "POST" and form.is_valid():
        try:
            opening.edit(actor=request.membership, request_id=found.pk, server=server, ask=form.ask())
        except MarketplaceError as error:
            form.refuse(error)
        else:
            messages.success(request, "The request is changed, and its approval begins again.")
            return redirect("org:request", org, found.pk)
    context = {"form": form, "server": server, "found": found, "preview": _preview(request, server, tools)}
    return render(request, "access/request_create.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def request_detail(request: OrganisationRequest, org: str, request_id: UUID) -> HttpResponse:
    """A POST names what is done: approve, reject, ask, answer, withdraw or delegate."""
    found = selectors.get_request(request.membership, request_id)
    form = None
    if request.method == "POST":
        form = _decision_form(request, found)
        try:
            words = _act(request, found, form)
        except MarketplaceError as error:
            messages.error(request, f"{error.message} {error.next_step}")
        else:
            if words:
                messages.success(request, words)
                return redirect("org:request", org, found.pk)
        found = selectors.get_request(request.membership, request_id)
        form = form if form.errors else None
    return render(request, "access/request.html", _context(request, found, form))


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def request_by_mail(request: OrganisationRequest, org: str, link: str) -> HttpResponse:
    """The page behind the link of a mail. Looking changes nothing; the button approves, once."""
    found = links.opened(link, request.user)
    if request.method == "POST":
        with transaction.atomic():
            links.use(link, request.user)
            if request.POST.get("act") == "reject":
                deciding.reject(
                    tenant=request.organisation,
                    user=request.user,
                    request_id=found.request.pk,
                    digest=found.link.digest,
                    comment=request.POST.get("comment", ""),
                    via="mail",
                )
            else:
                deciding.approve(
                    tenant=request.organisation,
                    user=request.user,
                    request_id=found.request.pk,
                    digest=found.link.digest,
                    comment=request.POST.get("comment", ""),
                    via="mail",
                )
        messages.success(request, "Your decision is recorded.")
        return redirect("org:request", org, found.request.pk)
    context = {
        "found": found.request,
        "obstacle": links.OBSTACLES.get(found.obstacle, ""),
        "facts": _facts(found.request),
        "server": servers_by_id(request, [found.request.server_id]).get(found.request.server_id),
    }
    return render(request, "access/request_by_mail.html", context, status=410 if found.obstacle else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def grant_renew(request: OrganisationRequest, org: str, grant_id: UUID) -> HttpResponse:
    """Ask for the same again: one question, one button."""
    grant = access.list_grants().filter(pk=grant_id).first()
    if grant is None:
        raise NotFoundError("There is no such grant in this organisation.")
    server = servers_by_id(request, [grant.server_id]).get(grant.server_id)
    if server is None:
        raise NotFoundError("The server of this grant is not listed any more.")
    if request.method == "POST":
        made = opening.renew(
            actor=request.membership,
            grant=grant,
            server=server,
            subject=_parts(grant),
            reason=request.POST.get("reason", ""),
        )
        messages.success(request, f"You asked for {server.name} again.")
        return redirect("org:request", org, made.pk)
    facts = [
        {"label": "For", "value": grant.subject_label},
        {"label": "Server", "value": server.name},
        {"label": "Ends", "value": f"{grant.expires_at:%-d %B %Y, %H:%M} UTC" if grant.expires_at else "never"},
    ]
    return render(request, "access/grant_renew.html", {"grant": grant, "facts": facts})


def tabs(request: OrganisationRequest, active: str) -> list[dict[str, Any]]:
    org = request.organisation.slug
    items = [("requests", "Requests", "org:requests"), ("rules", "Who decides", "org:request-rules")]
    if request.membership.can(Right.MANAGE_ACCESS):
        items.append(("reviews", "Reviews", "org:reviews"))
    return [{"label": label, "url": reverse(url, args=[org]), "active": name == active} for name, label, url in items]


def _act(request: OrganisationRequest, found: AccessRequest, form: DecisionForm) -> str:
    """Do what the form asks and say what was done; empty when the form has to be corrected."""
    act = _ACTS.get(request.POST.get("act", ""))
    if act is None:
        raise NotFoundError("A request cannot do that.")
    return act(request, found, form)


def _approve(request: OrganisationRequest, found: AccessRequest, form: DecisionForm) -> str:
    if not form.is_valid():
        return ""
    deciding.approve(
        tenant=request.organisation,
        user=request.user,
        request_id=found.pk,
        digest=form.cleaned_data["digest"],
        terms=form.terms(),
        comment=form.cleaned_data["comment"],
    )
    found.refresh_from_db()
    return "Approved; the access holds from this moment on." if found.grant_id else "Approved; the next step is asked."


def _reject(request: OrganisationRequest, found: AccessRequest, form: DecisionForm) -> str:
    deciding.reject(
        tenant=request.organisation,
        user=request.user,
        request_id=found.pk,
        digest=request.POST.get("digest", ""),
        comment=request.POST.get("comment", ""),
    )
    return "Rejected; the requester was told why."


def _ask(request: OrganisationRequest, found: AccessRequest, form: DecisionForm) -> str:
    deciding.ask_back(
        tenant=request.organisation,
        user=request.user,
        request_id=found.pk,
        digest=request.POST.get("digest", ""),
        comment=request.POST.get("comment", ""),
    )
    return "Your question was sent."


def _answer(request: OrganisationRequest, found: AccessRequest, form: DecisionForm) -> str:
    opening.answer(actor=request.membership, request_id=found.pk, comment=request.POST.get("comment", ""))
    return "Your answer was sent."


def _withdraw(request: OrganisationRequest, found: AccessRequest, form: DecisionForm) -> str:
    opening.withdraw(actor=request.membership, request_id=found.pk)
    return "The request is withdrawn."


def _delegate(request: OrganisationRequest, found: AccessRequest, form: DecisionForm) -> str:
    wanted = routing.parse_uuid(request.POST.get("to", "")) or UUID(int=0)
    to = Membership.objects.select_related("user").filter(tenant=request.organisation, user_id=wanted).first()
    if to is None:
        raise NotFoundError("Choose a colleague.")
    deciding.delegate(
        tenant=request.organisation,
        user=request.user,
        request_id=found.pk,
        to=to,
        comment=request.POST.get("comment", ""),
    )
    return f"{to.user.email} was asked to decide."


_ACTS: dict[str, Callable[[OrganisationRequest, AccessRequest, DecisionForm], str]] = {
    "approve": _approve,
    "reject": _reject,
    "ask": _ask,
    "answer": _answer,
    "withdraw": _withdraw,
    "delegate": _delegate,
}


def _context(request: OrganisationRequest, found: AccessRequest, form: DecisionForm | None) -> dict[str, Any]:
    people = routing.approvers(request.organisation, found) if found.undecided else []
    may_decide = any(each.user.pk == request.user.pk for each in people)
    barred = routing.barred_people(request.organisation, found) if may_decide else set()
    return {
        "found": found,
        "server": servers_by_id(request, [found.server_id]).get(found.server_id),
        "facts": _facts(found),
        "steps": [_step(found, number, each) for number, each in enumerate(found.route)],
        "events": [_told(event) for event in selectors.story(found)],
        "approvers": people,
        "mine": found.requester_id == request.user.pk,
        "may_decide": may_decide,
        "form": (form or _decision_form(request, found, bound=False)) if may_decide else None,
        "colleagues": [
            member
            for member in Membership.objects.filter(tenant=request.organisation, user__is_active=True).select_related(
                "user"
            )
            if member.user_id != request.user.pk and member.user_id not in barred
        ]
        if may_decide
        else [],
        "grant": access.list_grants().filter(pk=found.grant_id).first() if found.grant_id else None,
        "now": clock.now(),
        "four_eyes": found.undecided
        and not may_decide
        and found.requester_id != request.user.pk
        and request.membership.can(Right.MANAGE_ACCESS),
    }


def _decision_form(request: OrganisationRequest, found: AccessRequest, *, bound: bool = True) -> DecisionForm:
    return DecisionForm(
        request.POST if bound and request.method == "POST" else None, left=open_terms(found), digest=found.digest
    )


def _facts(found: AccessRequest) -> list[dict[str, Any]]:
    terms = asked_terms(found)
    return [
        {"label": "For", "value": found.subject_label},
        {"label": "Asked by", "value": found.requester_label},
        {"label": "Tools", "value": ", ".join(terms.tools) or "every tool"},
        {"label": "May", "value": ", ".join(terms.side_effects)},
        {"label": "Trust", "value": f"up to {terms.max_trust}"},
        {"label": "For how long", "value": f"{duration_words(terms.duration_h)} from the approval on"},
    ]


def _step(found: AccessRequest, number: int, stage: dict[str, Any]) -> dict[str, Any]:
    done = found.state == "approved" or number < found.stage
    failed = found.state in {"rejected", "expired", "withdrawn"} and number == found.stage
    state = "done" if done else "failed" if failed else "current" if number == found.stage else "todo"
    return {"label": stage["label"], "state": state}


def _told(event: Any) -> dict[str, Any]:
    behalf = f" for {event.on_behalf_of}" if event.on_behalf_of else ""
    mail = ", from the mail" if event.via == "mail" else ""
    less = f"Lets pass: {_less(event.terms)}. " if event.terms and event.kind == "approved" else ""
    return {
        "at": event.created_at,
        "title": event.get_kind_display() + mail,
        "actor": event.actor_label + behalf,
        "detail": f"{less}{event.comment}",
        "icon": _ICONS.get(event.kind, ""),
        "kind": _KINDS.get(event.kind, ""),
    }


def _less(terms: dict[str, Any]) -> str:
    tools = ", ".join(terms["tools"]) or "every tool"
    return f"{tools}; {', '.join(terms['side_effects'])}; {terms['max_trust']} trust; {duration_words(terms['duration_h'])}"


def _form(request: OrganisationRequest, server: Server, initial: dict[str, Any]) -> tuple[RequestForm, list[Any]]:
    tools = list(server.current_version.tools.all()) if server.current_version else []
    data = request.POST if request.method == "POST" else None
    return RequestForm(data, initial=initial, subjects=_subjects(request), tools=tools), tools


def _subjects(request: OrganisationRequest) -> Choices:
    """Members ask for themselves and their teams; those who manage access for everybody. Agents and keys are for all."""
    groups = subject_choices(request.organisation)
    own = (f"user:{request.user.pk}", f"Yourself ({request.user.email})")
    if request.membership.can(Right.MANAGE_ACCESS):
        return [("You", [own]), *((name, [e for e in entries if e[0] != own[0]]) for name, entries in groups)]
    teams = {f"team:{pk}" for pk in request.membership.teams.values_list("pk", flat=True)}
    kept = {"Keys": None, "Agents": None, "Teams": teams}
    found: Choices = [("You", [own])]
    for name, entries in groups:
        if name in kept:
            found.append((name, [entry for entry in entries if kept[name] is None or entry[0] in (kept[name] or ())]))
    return [(name, entries) for name, entries in found if entries]


def _asked(request: OrganisationRequest) -> dict[str, Any]:
    """What the address asks for, such as the link of a denied call; the form checks it like typed input."""
    asked: dict[str, Any] = {"subject": request.GET.get("subject") or f"user:{request.user.pk}"}
    if agent := request.GET.get("agent", "")[:100]:
        asked |= {"agent": agent, "subject": ""}
    if request.GET.get("trust") in {trust.word for trust in Trust}:
        asked["trust"] = request.GET["trust"]
    if request.GET.get("effect") in set(SideEffect):
        asked["effect"] = request.GET["effect"]
    if tools := [*request.GET.getlist("tool"), *request.GET.getlist("tools")]:
        asked["tools"] = tools
    return asked


def _initial(found: AccessRequest) -> dict[str, Any]:
    subject = next(
        (f"{kind}:{value}" for kind in ("user", "team", "key") if (value := getattr(found, f"subject_{kind}"))),
        "",
    )
    return {
        "tools": found.tool_names,
        "subject": subject,
        "agent": found.subject_agent,
        "duration_h": found.duration_h,
        "reason": found.reason,
        "wants_session": found.wants_session,
    }


def _preview(request: OrganisationRequest, server: Server, tools: list[Any]) -> list[preview.Line]:
    """What would be possible, for whoever the form names at this moment."""
    given = request.POST if request.method == "POST" else request.GET
    named = set(given.getlist("tools")) | set(given.getlist("tool"))
    agent, chosen = given.get("agent", "").strip()[:100], given.get("subject", "")
    kind, _, identity = chosen.partition(":")
    subject = (
        Subject(agent=agent)
        if agent
        else Subject.of(kind, identity[:100])
        if kind in {"user", "team", "key", "agent"} and identity
        else Subject(user=str(request.user.pk))
    )
    return preview.outlook(request.organisation, server, subject, tools, named)


def _parts(grant: Grant) -> dict[str, str]:
    """A grant's subject for a request: the parts that are set, of which a request takes one."""
    subject = Subject(
        user=grant.subject_user, agent=grant.subject_agent, team=grant.subject_team, key=grant.subject_key
    )
    return subject_parts(subject)


def denied_url(org: str, **asked: str) -> str:
    """The page that asks for what a denied call lacked, filled in: server, tool, trust, effect, and agent or subject."""
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"{reverse('org:access-request', args=[org])}?{query}"
