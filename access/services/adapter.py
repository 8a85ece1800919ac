"""Sessions that adapters ask for on behalf of a person and an agent. Runs inside the organisation's schema.

As MCP Runtime does it (requirements C8): the platform picks the grant, caps the trust at it, and gives the same person and agent
at the same server one session, under a name that follows from who they are, for as long as that is good.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q

from access.formats import durations
from access.models import AgentSession, Grant, Origin
from access.services import sessions
from access.services.grants import Subject
from access.types import Trust
from catalog.models import Server
from catalog.policies import PolicySettings
from core import clock
from core.errors import ForbiddenError, InvalidError
from tenants.models import Tenant, User

DEFAULT_TTL_S, MAX_TTL_S = 3_600, 86_400
# A session with less than this to live is not handed out again: it would end within the conversation that it is for.
LEAST_LEFT_S = 30
POLICY_VERSION = "v1"
_LOCK_CLASS = 91


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks: a person of the organisation through an agent, with the teams and the key that they come with."""

    user: User
    agent: str
    teams: tuple[str, ...] = ()
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Issued:
    session: AgentSession
    grant: Grant
    reused: bool


def open_session(
    *,
    tenant: Tenant,
    server: Server,
    asking: Asking,
    trust: str = "",
    ttl: str = "",
    namespace: str = "",
    default_team: str = "",
) -> Issued:
    """The session of this person and agent at a server that they may see (the caller has checked that).

    `trust` is low unless asked for, and never more than the grant gives. With a `namespace` only its grants count. Raises
    InvalidError for a trust or time that is none, ForbiddenError when no grant fits.
    """
    wanted, ttl_s = _trust(trust), _ttl(ttl)
    if not asking.agent or len(asking.agent) > 200 or not asking.agent.isprintable():
        raise InvalidError("agentID is a text of 1 to 200 characters.", code="access.agent_missing", field="agentID")
    now = clock.now()
    with transaction.atomic():
        grant = _best(server, asking, namespace, now)
        if grant is None:
            raise ForbiddenError(
                f"No enabled grant lets {asking.user.email} and the agent {asking.agent!r} use {server.slug}.",
                code="access.no_matching_grant",
                next_step="Ask an admin of your organisation for access to this server.",
            )
        team = grant.subject_team or default_team
        place = namespace or grant.namespace or tenant.slug
        subject = Subject(
            user=str(asking.user.pk), agent=asking.agent, team=team, label=f"{asking.user.email}, {asking.agent}"
        )
        name = session_name(subject, server.slug)
        _lock(f"{tenant.schema_name}/{place}/{name}")
        consented = min(wanted, Trust.parse(grant.max_trust)).word
        version = grant.policy_version or POLICY_VERSION
        held = AgentSession.objects.filter(namespace=place, name=name, revoked_at=None).first()
        if held is not None and _is_good(held, server, subject, consented, version):
            return Issued(held, grant, reused=True)
        if held is not None:
            sessions.revoke(tenant=tenant, session_id=held.pk, actor=asking.user)
        longest = PolicySettings.of(server).session_max_lifetime_s
        session = sessions.issue(
            tenant=tenant,
            server=server,
            subject=subject,
            actor=asking.user,
            name=name,
            namespace=place,
            origin=Origin.ADAPTER,
            consented_trust=consented,
            expires_at=now + timedelta(seconds=min(ttl_s, longest)),
            policy_version=version,
        )
    return Issued(session, grant, reused=False)


def session_name(subject: Subject, server: str) -> str:
    """The same for the same person, agent, team and server, whichever process is asked."""
    text = f"{subject.user}\0{subject.agent}\0{subject.team}\0{server}"
    return f"adapter-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _best(server: Server, asking: Asking, namespace: str, now: datetime) -> Grant | None:
    """The live grant with the most trust, of equal ones the oldest."""
    rows = Grant.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now),
        Q(subject_user__in=["", str(asking.user.pk)]),
        Q(subject_agent__in=["", asking.agent]),
        Q(subject_team__in=["", *asking.teams]),
        Q(subject_key__in=["", asking.key_id]),
        server=server,
        revoked_at=None,
        disabled_at=None,
    )
    if namespace:
        rows = rows.filter(namespace=namespace)
    return min(rows, key=lambda grant: (-Trust.parse(grant.max_trust), grant.created_at, grant.pk), default=None)


def _is_good(held: AgentSession, server: Server, subject: Subject, consented: str, version: str) -> bool:
    """Whether a session is what would be issued, and lives long enough."""
    same = (held.server_id, held.subject_user, held.subject_agent, held.subject_team)
    if same != (server.pk, subject.user, subject.agent, subject.team):
        return False
    if (held.consented_trust, held.policy_version) != (consented, version) or held.expires_at is None:
        return False
    settings, least = PolicySettings.of(server), clock.now() + timedelta(seconds=LEAST_LEFT_S)
    idle_s = min(filter(None, (held.idle_timeout_s, settings.session_idle_timeout_s)), default=0)
    ends = [held.expires_at, held.created_at + timedelta(seconds=settings.session_max_lifetime_s)]
    if idle_s:
        ends.append(max(held.created_at, held.last_used_at or held.created_at) + timedelta(seconds=idle_s))
    return min(ends) > least


def _trust(text: str) -> Trust:
    word = text.strip().lower()
    if word not in {"", "low", "medium", "high"}:
        raise InvalidError(
            "requestedTrust is low, medium or high.", code="access.trust_unknown", field="requestedTrust"
        )
    return Trust.parse(word)


def _ttl(text: str) -> int:
    """Seconds; an hour when nothing is asked, a day at most."""
    if not text.strip():
        return DEFAULT_TTL_S
    try:
        seconds = durations.parse(text)
    except ValueError:
        seconds = 0
    if seconds <= 0:
        raise InvalidError(
            "requestedTTL is a duration such as 1h or 30m.", code="access.ttl_unknown", field="requestedTTL"
        )
    return min(seconds, MAX_TTL_S)


def _lock(what: str) -> None:
    """Until the end of the transaction: who asks at the same moment waits, and gets the session that is made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, what])
