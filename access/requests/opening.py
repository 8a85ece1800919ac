"""The requester's side: asking, changing, answering, withdrawing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from access.models import AccessRequest, EventKind, Grant, RequestState
from access.models.request import UNDECIDED
from access.requests import providers, routing, telling
from access.requests.events import audited, digest_of, locked, noted
from access.requests.rules import Terms
from access.types import SideEffect, Trust
from catalog.models import Server, Tool
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError, LimitReachedError
from core.ids import uuid7
from tenants.choices import Right
from tenants.models import APIKey, Membership
from tenants.services import settings

UNDECIDED_MAX = 50
REASON_MAX = 1000


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody asks for. Each part of the subject that is set has to match a caller; no tools means every tool."""

    tools: tuple[str, ...]
    reason: str
    duration_h: int
    user: str = ""
    agent: str = ""
    team: str = ""
    key: str = ""
    label: str = ""
    wants_session: bool = False
    trust: str = ""  # more than the tools need, when a call was denied for it
    effect: str = ""

    def subject(self) -> dict[str, str]:
        return {"user": self.user, "agent": self.agent, "team": self.team, "key": self.key}


def open_request(
    *, actor: Membership, server: Server, ask: Ask, origin: str = "page", renews: UUID | None = None
) -> AccessRequest:
    """Ask for access to a server that the person may see (the caller has checked that).

    Raises InvalidError for what cannot be asked, ConflictError when the same waits already, LimitReachedError for too much.
    """
    with transaction.atomic():
        # One opening of a person at a time, so that the checks below see what the insert before has done.
        Membership.objects.select_for_update(no_key=True).get(pk=actor.pk)
        values = _values(actor, server, ask)
        _check_room(actor, server, values)
        request = AccessRequest(
            id=uuid7(),
            server=server,
            server_name=server.name,
            requester_id=actor.user_id,
            requester_label=actor.user.email,
            origin=origin,
            renews_id=renews,
            **values,
        )
        _route(actor, server, request)
        request.digest = digest_of(request)
        request.save(force_insert=True)
        telling.emitted(actor.tenant, request, "opened")
        noted(request, EventKind.OPENED, actor=actor.user, comment=request.reason, via=origin)
        audited("access:request:opened", actor.user, request, {"tools": request.tool_names, "trust": request.max_trust})
        providers.tell(actor.tenant, request, server)
        telling.tell_approvers(actor.tenant, request, "opened")
    return request


def edit(*, actor: Membership, request_id: UUID, server: Server, ask: Ask) -> AccessRequest:
    """Change what is asked. Every approval that was given is void, and the approval begins again."""
    with transaction.atomic():
        request = locked(request_id)
        _check_mine(request, actor)
        _check_undecided(request)
        for name, value in _values(actor, server, ask).items():
            setattr(request, name, value)
        request.version += 1
        request.state, request.stage, request.delegates = RequestState.OPEN, 0, []
        _route(actor, server, request)
        request.digest = digest_of(request)
        request.save()
        noted(request, EventKind.EDITED, actor=actor.user, comment=request.reason)
        audited("access:request:edited", actor.user, request, {"version": request.version})
        providers.tell(actor.tenant, request, server)
        telling.tell_approvers(actor.tenant, request, "opened")
    return request


def withdraw(*, actor: Membership, request_id: UUID) -> AccessRequest:
    """Take a request back; a second time changes nothing. Raises ConflictError when it was decided."""
    with transaction.atomic():
        request = locked(request_id)
        _check_mine(request, actor)
        if request.state != RequestState.WITHDRAWN:
            _check_undecided(request)
            request.state, request.decided_at = RequestState.WITHDRAWN, clock.now()
            request.save(update_fields=["state", "decided_at", "updated_at"])
            noted(request, EventKind.WITHDRAWN, actor=actor.user)
            audited("access:request:withdrawn", actor.user, request, {})
            providers.close(actor.tenant, request)
            telling.emitted(actor.tenant, request, "withdrawn")
    return request


def answer(*, actor: Membership, request_id: UUID, comment: str) -> AccessRequest:
    """Answer what an approver asked back; the request waits for approval again."""
    comment = _text(comment, "comment", "Write an answer.")
    with transaction.atomic():
        request = locked(request_id)
        _check_mine(request, actor)
        if request.state != RequestState.ASKED:
            raise ConflictError("Nobody waits for an answer to this request.", code="access.request_not_asked")
        request.state = RequestState.OPEN
        request.save(update_fields=["state", "updated_at"])
        noted(request, EventKind.ANSWERED, actor=actor.user, comment=comment)
        telling.tell_approvers(actor.tenant, request, "answered", comment)
    return request


def renew(
    *, actor: Membership, grant: Grant, server: Server, reason: str = "", subject: dict[str, Any]
) -> AccessRequest:
    """Ask for the same again, for as long as it was given the last time; what is over or about to be needs no form."""
    length = (grant.expires_at - grant.created_at) if grant.expires_at else timedelta(days=30)
    names = set(grant.tools)
    offered = set(server.current_version.tools.values_list("name", flat=True)) if server.current_version else set()
    ask = Ask(
        tools=tuple(sorted(names & offered)),
        reason=reason.strip() or "Renews an earlier access.",
        duration_h=max(1, min(round(length / timedelta(hours=1)), 24 * 366)),
        label=grant.subject_label,
        trust=grant.max_trust,
        **subject,
    )
    if names and not names & offered:
        raise InvalidError(
            "The server offers none of these tools any more.",
            code="access.tools_gone",
            next_step="Ask for access to other tools.",
        )
    return open_request(actor=actor, server=server, ask=ask, renews=grant.pk)


def _values(actor: Membership, server: Server, ask: Ask) -> dict[str, Any]:
    """The columns of what is asked, checked: the tools with what they need, and so the trust and the side effects."""
    chosen = _chosen_tools(server, ask.tools)
    measured = chosen or _all_tools(server)
    trust = max(
        [Trust.parse(tool.required_trust) for tool in measured]
        + [Trust.parse(ask.trust or "low"), Trust.parse(server.required_trust)]
    )
    effects = {tool.side_effect for tool in measured if tool.side_effect} | ({ask.effect} if ask.effect else set())
    terms = Terms.of([tool.name for tool in chosen], trust.word, effects or {SideEffect.READ.value}, ask.duration_h)
    return {
        **_subject(actor, ask),
        "tools": [_needs(tool) for tool in sorted(chosen, key=lambda tool: tool.name)],
        "max_trust": terms.max_trust,
        "side_effects": list(terms.side_effects),
        "duration_h": terms.duration_h,
        "reason": _text(ask.reason, "reason", "Say what the access is needed for."),
        "wants_session": ask.wants_session,
    }


def _needs(tool: Tool) -> dict[str, str]:
    return {
        "name": tool.name,
        "required_trust": tool.required_trust,
        "side_effect": tool.side_effect,
        "definition": tool.definition_digest,
    }


def _all_tools(server: Server) -> list[Tool]:
    return list(server.current_version.tools.all()) if server.current_version else []


def _chosen_tools(server: Server, names: tuple[str, ...]) -> list[Tool]:
    offered = {tool.name: tool for tool in _all_tools(server)}
    unknown = sorted(set(names) - set(offered))
    if unknown:
        raise InvalidError(
            f"The server has no tool named {unknown[0][:128]!r}.", code="access.tool_unknown", field="tools"
        )
    return [offered[name] for name in set(names)]


def _subject(actor: Membership, ask: Ask) -> dict[str, Any]:
    """Whom the right would be for. Members ask for themselves, their teams, and agents and keys of the organisation."""
    parts = ask.subject()
    if not any(parts.values()):
        raise InvalidError(
            "Choose yourself, an agent, a key or a team.", code="access.subject_missing", field="subject"
        )
    for kind, text in parts.items():
        if text and kind != "agent":
            parts[kind] = _known(actor, kind, text)
    return {
        **{f"subject_{kind}": value[:100] for kind, value in parts.items()},
        "subject_label": _label(actor, ask, parts["user"])[:254],
        "beneficiaries": sorted(
            routing.beneficiaries(actor.tenant, **{name: parts[name] for name in ("user", "team", "key")})
        ),
    }


def _label(actor: Membership, ask: Ask, user_id: str) -> str:
    """What the subject is called everywhere; a person by their address, whatever a form says."""
    if user_id:
        return actor.tenant.memberships.select_related("user").get(user_id=user_id).user.email
    if ask.label or ask.agent:
        return ask.label or ask.agent
    if ask.key:
        return APIKey.objects.get(pk=ask.key).name
    return actor.tenant.teams.get(pk=ask.team).name


def _known(actor: Membership, kind: str, text: str) -> str:
    pk = routing.parse_uuid(text) or UUID(int=0)
    manages = actor.can(Right.MANAGE_ACCESS)
    found = {
        "user": lambda: (
            (manages or pk == actor.user_id) and Membership.objects.filter(tenant=actor.tenant, user_id=pk).exists()
        ),
        "team": lambda: (actor.tenant.teams if manages else actor.teams).filter(pk=pk).exists(),
        "key": lambda: APIKey.objects.filter(tenant=actor.tenant, pk=pk, revoked_at=None).exists(),
    }[kind]()
    if not found:
        raise InvalidError(
            "Ask for yourself, for a team of yours, or for an agent or key of this organisation.",
            code="access.subject_unknown",
            field="subject",
        )
    return str(pk)


def _route(actor: Membership, server: Server, request: AccessRequest) -> None:
    now = clock.now()
    route = routing.route_for(actor.tenant, server, request.max_trust, request.side_effects)
    request.route = route.stages
    request.due_at = now + timedelta(hours=route.target_h)
    request.escalate_at = now + timedelta(hours=route.escalate_h)
    request.escalated_at = None
    request.expires_at = now + timedelta(days=settings.get_int("access_request_lifetime_days", actor.tenant))


def _check_room(actor: Membership, server: Server, values: dict[str, Any]) -> None:
    mine = AccessRequest.objects.filter(requester_id=actor.user_id, state__in=UNDECIDED)
    same = {name: value for name, value in values.items() if name in _SUBJECT}
    twin = next(
        (each for each in mine.filter(server=server, **same) if each.tools == values["tools"]),
        None,
    )
    if twin is not None:
        raise ConflictError(
            "You have asked for this already, and it waits for an answer.",
            code="access.request_waits",
            next_step="Look at the request, change it, or withdraw it.",
            request_id=str(twin.pk),
        )
    if mine.count() >= UNDECIDED_MAX:
        raise LimitReachedError(
            f"{UNDECIDED_MAX} requests of yours wait for an answer.",
            code="access.too_many_requests",
            next_step="Withdraw those that you no longer need.",
        )


_SUBJECT = ("subject_user", "subject_agent", "subject_team", "subject_key")


def _check_mine(request: AccessRequest, actor: Membership) -> None:
    if request.requester_id != actor.user_id:
        raise ForbiddenError(
            "Only the person who asked can change this request.",
            code="access.not_requester",
            next_step=f"Ask {request.requester_label} to do it.",
        )


def _check_undecided(request: AccessRequest) -> None:
    if not request.undecided:
        raise ConflictError(
            f"This request is decided: {request.get_state_display().lower()}.",
            code="access.request_decided",
            next_step="Ask again if the access is still needed.",
        )


def _text(text: str, field: str, missing: str) -> str:
    text = text.replace("\x00", "").strip()
    if not text:
        raise InvalidError(missing, code=f"access.{field}_missing", field=field)
    if len(text) > REASON_MAX:
        raise InvalidError(f"Use at most {REASON_MAX} characters.", code=f"access.{field}_long", field=field)
    return text
