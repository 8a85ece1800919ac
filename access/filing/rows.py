"""Rows of access as the entries of files. Runs inside the organisation's schema."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from django.db.models import Q, QuerySet

from access.filing.directory import Directory
from access.flows import rules as flows
from access.formats import files
from access.formats.entries import FlowEntry, GrantEntry, PolicyEntry, RuleEntry, SecretRef, SessionEntry
from access.models import AgentSession, FlowPolicy, Grant, Origin, OwnLabel
from access.services.grants import Subject, subject_of
from catalog.choices import AuthMode, Status
from catalog.models import Server
from catalog.policies import PolicySettings
from catalog.selectors import labels
from catalog.selectors.listing import visible_to
from core import clock
from core.errors import InvalidError
from tenants.models import Tenant

# What a session's `upstreamTokenSecretRef` is called when we write it; its key is the credential's id.
CREDENTIAL = "connection"


def live_grants() -> QuerySet[Grant]:
    """Grants that files speak of: switched off ones too, ended ones not."""
    return Grant.objects.filter(Q(expires_at=None) | Q(expires_at__gt=clock.now()), revoked_at=None)


def live_sessions() -> QuerySet[AgentSession]:
    """Sessions that somebody decided on; those that adapters issue by themselves come and go."""
    live = Q(expires_at=None) | Q(expires_at__gt=clock.now())
    return AgentSession.objects.filter(live, revoked_at=None).exclude(origin=Origin.ADAPTER)


def own_servers(directory: Directory) -> QuerySet[Server]:
    return visible_to(directory.viewer).filter(owner_tenant_id=directory.tenant.pk).exclude(status=Status.LISTED)


def grant_entry(grant: Grant, directory: Directory) -> GrantEntry:
    return GrantEntry(
        name=grant.name,
        namespace=grant.namespace,
        server=directory.slug(grant.server_id),
        subject=directory.subject_entry(subject_of(grant)),
        max_trust=grant.max_trust,
        side_effects=tuple(effect for effect in ("read", "write", "destructive") if effect in grant.side_effects),
        tool_rules=tuple(
            RuleEntry(
                rule["name"],
                rule.get("decision") or "allow",
                rule.get("required_trust") or "low",
                approval=rule.get("approval") is True,
            )
            for rule in sorted(grant.tool_rules, key=lambda rule: str(rule["name"]))
        ),
        policy_version=grant.policy_version,
        disabled=grant.disabled_at is not None,
        conditions=dict(grant.conditions or {}),
        expires_at=grant.expires_at,
    )


def session_entry(session: AgentSession, directory: Directory) -> SessionEntry:
    credential = session.credential_id
    return SessionEntry(
        name=session.name,
        namespace=session.namespace,
        server=directory.slug(session.server_id),
        subject=directory.subject_entry(
            Subject(user=session.subject_user, agent=session.subject_agent, team=session.subject_team)
        ),
        consented_trust=session.consented_trust,
        expires_at=session.expires_at,
        revoked=session.revoked_at is not None,
        credential=SecretRef(CREDENTIAL, str(credential)) if credential else None,
        policy_version=session.policy_version,
        idle_timeout_s=session.idle_timeout_s,
    )


def policy_entry(server: Server) -> PolicyEntry:
    settings = PolicySettings.of(server)
    return PolicyEntry(
        server=server.slug,
        mode=server.policy_mode,
        default_decision=settings.default_decision,
        enforce_on=settings.enforce_on,
        policy_version=settings.policy_version,
        session_required=settings.session_required,
        session_header=settings.session_header,
        session_max_lifetime_s=settings.session_max_lifetime_s,
        session_idle_timeout_s=settings.session_idle_timeout_s,
        compat=settings.compat,
        auth_mode=AuthMode.HEADER if server.identity_headers else server.auth_mode or None,
    )


def export(tenant: Tenant) -> str:
    """All of it as YAML, always the same text for the same access."""
    directory = Directory(tenant)
    is_set = FlowPolicy.objects.exists() or OwnLabel.objects.exists()
    return files.write_files(
        all_grants(directory),
        all_sessions(directory),
        all_policies(directory),
        [flow_entry(directory)] if is_set else [],
    )


def flow_entry(directory: Directory) -> FlowEntry:
    """The flow rule with the organisation's own labels, as it holds."""
    held, own = flows.terms(), list(OwnLabel.objects.all())
    directory.learn_slugs(row.server_id for row in own)
    return FlowEntry(
        mode=held.mode,
        forbidden=held.forbidden,
        scope=held.scope,
        window_s=held.window_s,
        unlabelled=held.unlabelled,
        exempt_agents=held.exempt_agents,
        exempt_grants=held.exempt_grants,
        labels=tuple(sorted((directory.slug(row.server_id), row.tool, tuple(row.labels)) for row in own)),
        namespace=directory.tenant.slug,
    )


def flow_wanted(
    entry: FlowEntry, directory: Directory
) -> tuple[flows.Terms, dict[UUID, tuple[Server, dict[str, tuple[str, ...] | None]]]]:
    """What an entry asks for: the rule, and per server what is said of its tools; what it leaves out is taken back.

    Raises InvalidError for what there is not.
    """
    terms = flows.Terms(
        entry.mode,
        entry.forbidden,
        entry.scope,
        entry.window_s,
        entry.unlabelled,
        entry.exempt_agents,
        entry.exempt_grants,
    )
    flows.check(terms)
    wanted: dict[UUID, tuple[Server, dict[str, tuple[str, ...] | None]]] = {}
    for row in OwnLabel.objects.all():
        server = directory.server(directory.slug(row.server_id))
        if server is not None and server.pk == row.server_id:
            wanted.setdefault(server.pk, (server, {}))[1][row.tool] = None
    for slug, tool, said in entry.labels:
        server = directory.server(slug)
        if server is None:
            raise InvalidError(f"There is no server {slug!r} that the organisation may see.", field="labels")
        labels.check({tool: said}, set(labels.definitions(server)) | set(flows.own_labels_at(server.pk)))
        wanted.setdefault(server.pk, (server, {}))[1][tool] = said
    return terms, wanted


def all_grants(directory: Directory) -> Iterator[GrantEntry]:
    rows = list(live_grants())
    directory.learn_slugs(grant.server_id for grant in rows)
    yield from (grant_entry(grant, directory) for grant in rows)


def all_sessions(directory: Directory) -> Iterator[SessionEntry]:
    rows = list(live_sessions())
    directory.learn_slugs(session.server_id for session in rows)
    yield from (session_entry(session, directory) for session in rows)


def all_policies(directory: Directory) -> Iterator[PolicyEntry]:
    yield from (policy_entry(server) for server in own_servers(directory))
