"""Issuing and revoking sessions of agents. Runs inside the organisation's schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack
from uuid import UUID

from django.db import IntegrityError, transaction

from access.models import AgentSession, Origin, UpstreamCredential
from access.services.grants import Subject, check_expiry, check_name, check_namespace, check_trust
from access.types import Trust
from audit import services as audit
from catalog.models import Server
from catalog.policies import PolicySettings
from core import clock
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import uuid7
from notifications.services import webhooks
from tenants.models import Tenant, User
from tenants.services import revisions

IDLE_LEAST_S = 60


class Terms(TypedDict, total=False):
    """What a session says beside whose it is where; everything has a default (`_Terms`)."""

    consented_trust: str
    expires_at: datetime | None
    idle_timeout_s: int | None
    policy_version: str
    credential: UpstreamCredential | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    consented_trust: str = Trust.LOW.word
    expires_at: datetime | None = None
    idle_timeout_s: int | None = None
    policy_version: str = ""
    credential: UpstreamCredential | None = None
    note: str = ""


def issue(
    *,
    tenant: Tenant,
    server: Server,
    subject: Subject,
    actor: User | None,
    name: str = "",
    namespace: str = "",
    origin: str = Origin.PAGE,
    **terms: Unpack[Terms],
) -> AgentSession:
    """Open a session of a subject at a server that the organisation may see (the caller has checked that).

    Without an expiry it lives as long as the server's policy lets any session live. Raises InvalidError for a subject without a
    user, agent or team, an unknown word or a past expiry, and ConflictError when a live session of the namespace has the name.
    """
    wanted = _Terms(**terms)
    _check(subject, wanted, server)
    key, now = uuid7(), clock.now()
    name = check_name(name or f"session-{key.hex[-12:]}")
    namespace = check_namespace(namespace or tenant.slug)
    longest = timedelta(seconds=PolicySettings.of(server).session_max_lifetime_s)
    session = AgentSession(
        id=key,
        server=server,
        name=name,
        namespace=namespace,
        subject_user=subject.user,
        subject_agent=subject.agent,
        subject_team=subject.team,
        subject_label=subject.label[:254],
        consented_trust=wanted.consented_trust,
        expires_at=wanted.expires_at or now + longest,
        idle_timeout_s=wanted.idle_timeout_s,
        policy_version=wanted.policy_version[:63],
        credential=wanted.credential,
        origin=origin,
        issued_by_id=actor.pk if actor else None,
        issued_by_label=actor.email if actor else "system",
        note=wanted.note[:500],
    )
    with transaction.atomic():
        AgentSession.objects.filter(name=name, namespace=namespace, revoked_at=None, expires_at__lte=now).update(
            revoked_at=now
        )
        _save(session)
        _audit("access:session:issued", actor, session, {"server": server.slug, "trust": wanted.consented_trust})
        webhooks.emit(tenant.pk, "access.session.issued", event_data(session))
        revisions.touch(tenant.pk)
    return session


def revoke(*, tenant: Tenant, session_id: UUID, actor: User | None) -> AgentSession:
    """End a session; a second time changes nothing. Gateways refuse its calls within a second."""
    with transaction.atomic():
        session = _get(session_id)
        if session.revoked_at is None:
            session.revoked_at = clock.now()
            session.save(update_fields=["revoked_at", "updated_at"])
            _audit("access:session:revoked", actor, session, {})
            webhooks.emit(tenant.pk, "access.session.revoked", event_data(session))
            revisions.touch(tenant.pk, ended=[session.pk])
    return session


def unrevoke(*, tenant: Tenant, session_id: UUID, actor: User | None) -> AgentSession:
    """Let a revoked session go on. Raises ConflictError when its name was taken meanwhile."""
    with transaction.atomic():
        session = _get(session_id)
        if session.revoked_at is not None:
            session.revoked_at = None
            _save(session, update_fields=["revoked_at", "updated_at"])
            _audit("access:session:unrevoked", actor, session, {})
            revisions.touch(tenant.pk)
    return session


def note_used(moments: Mapping[UUID, datetime]) -> None:
    """Store when sessions were last used; later moments win. No revision: gateways know of their own uses."""
    for session_id, moment in moments.items():
        rows = AgentSession.objects.filter(pk=session_id).exclude(last_used_at__gte=moment)
        rows.update(last_used_at=moment)


def event_data(session: AgentSession) -> dict[str, Any]:
    """What an organisation's own systems are told of a session."""
    return {
        "session_id": str(session.pk),
        "name": session.name,
        "namespace": session.namespace,
        "server_id": str(session.server_id),
        "subject": {str(kind): value for kind, value in session.parts},
        "consented_trust": session.consented_trust,
        "expires_at": session.expires_at.isoformat() if session.expires_at else None,
    }


def _check(subject: Subject, terms: _Terms, server: Server) -> None:
    if not (subject.user or subject.agent or subject.team) or subject.key or subject.everyone:
        raise InvalidError(
            "A session is of a user, an agent or a team.", code="access.subject_missing", field="subject"
        )
    if any(len(part) > 200 for part in (subject.user, subject.agent, subject.team)):
        raise InvalidError(
            "A part of a subject has at most 200 characters.", code="access.subject_too_long", field="subject"
        )
    check_trust(terms.consented_trust, "consented_trust")
    check_expiry(terms.expires_at)
    if terms.idle_timeout_s is not None and not IDLE_LEAST_S <= terms.idle_timeout_s <= 2_147_483_647:
        raise InvalidError(
            f"A session ends after at least {IDLE_LEAST_S} seconds without a call.",
            code="access.idle_timeout",
            field="idle_timeout_s",
        )
    if terms.credential is not None and terms.credential.server_id != server.pk:
        raise InvalidError(
            "The credential is for another server.", code="access.credential_of_other_server", field="credential"
        )


def _save(session: AgentSession, **how: Any) -> None:
    try:
        with transaction.atomic():
            session.save(**how)
    except IntegrityError as error:
        if "session_name_unique" not in str(error):
            raise
        raise ConflictError(
            f"There is a session named {session.name!r} in this namespace.",
            code="access.name_taken",
            next_step="Choose another name, or revoke that session.",
            field="name",
        ) from error


def _get(session_id: UUID) -> AgentSession:
    session = AgentSession.objects.select_for_update().filter(pk=session_id).first()
    if session is None:
        raise NotFoundError("There is no such session in this organisation.")
    return session


def _audit(action: str, actor: User | None, session: AgentSession, data: dict[str, object]) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
        target=audit.Party("session", str(session.pk), f"{session.name} ({session.who})"[:254]),
        data=data,
    )
