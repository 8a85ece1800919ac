"""Doing what a plan says: all of it or nothing, and only while it is still what would be done. Runs in the schema."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from django.db import transaction

from access.filing import plan as planning
from access.filing import rows
from access.filing.directory import Directory
from access.filing.plan import Change, Plan
from access.flows import rules as flows
from access.formats.entries import FlowEntry, GrantEntry, PolicyEntry, SessionEntry
from access.formats.files import Found
from access.models import Origin, UpstreamCredential
from access.services import grants, sessions
from audit import services as audit
from catalog.choices import AuthMode
from catalog.models import Server
from catalog.policies import PolicySettings
from catalog.services import policies
from catalog.services.policies import Policy
from core.errors import ConflictError, InvalidError
from tenants.models import Tenant, User


def apply(
    *, tenant: Tenant, found: Found, digest: str, actor: User | None, prune: bool = False, origin: str = Origin.IMPORT
) -> Plan:
    """Make the organisation's access what the files say, and give the plan that was carried out.

    Raises InvalidError while anything of the files cannot be taken, and ConflictError when the plan of this moment is not the one
    of the digest.
    """
    with transaction.atomic():
        # One at a time: whoever gives or revokes meanwhile waits at the organisation's revision.
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        plan = planning.make(tenant, found, prune=prune)
        _check(plan, digest)
        directory = Directory(tenant)
        for change in plan.changes:
            if change.changes:
                _DO[change.kind](tenant, change, actor, directory, origin)
        if not plan.is_empty:
            audit.record(
                "access:files:applied",
                actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
                data={"digest": plan.digest, "prune": prune, **plan.counts},
            )
    return plan


def _check(plan: Plan, digest: str) -> None:
    if plan.problems:
        raise InvalidError(
            f"{len(plan.problems)} things in the files cannot be taken: {plan.problems[0]}.",
            code="access.files_invalid",
            next_step="Correct the files and plan again.",
            problems=[str(problem) for problem in plan.problems[:50]],
        )
    if plan.digest != digest:
        raise ConflictError(
            "What the files would change is no longer what was planned.",
            code="access.plan_stale",
            next_step="Plan again, look at the changes and apply that plan.",
            digest=plan.digest,
        )


def _grant(tenant: Tenant, change: Change, actor: User | None, directory: Directory, origin: str) -> None:
    if change.action == "revoke":
        assert change.row_id is not None
        grants.revoke(tenant=tenant, grant_id=change.row_id, actor=actor)
        return
    entry = change.entry
    assert isinstance(entry, GrantEntry)
    server = _server(directory, entry.server)
    terms = {
        "subject": directory.subject(entry.subject),
        "max_trust": entry.max_trust,
        "side_effects": entry.side_effects,
        "tool_rules": [
            {
                "name": rule.name,
                "decision": rule.decision,
                "required_trust": rule.required_trust,
                "approval": rule.approval,
            }
            for rule in entry.tool_rules
        ],
        "conditions": entry.conditions,
        "expires_at": entry.expires_at,
        "policy_version": entry.policy_version,
        "is_disabled": entry.disabled,
        "origin": origin,
    }
    if change.action == "create" or "server" in change.fields:
        if change.row_id is not None:
            grants.revoke(tenant=tenant, grant_id=change.row_id, actor=actor)
        grants.give(tenant=tenant, server=server, actor=actor, name=entry.name, namespace=entry.namespace, **terms)  # type: ignore[arg-type]  # one mapping of all terms
    else:
        assert change.row_id is not None
        grants.replace(tenant=tenant, grant_id=change.row_id, actor=actor, server=server, **terms)


def _session(tenant: Tenant, change: Change, actor: User | None, directory: Directory, origin: str) -> None:
    if change.row_id is not None:
        sessions.revoke(tenant=tenant, session_id=change.row_id, actor=actor)
    if change.action == "revoke":
        return
    entry = change.entry
    assert isinstance(entry, SessionEntry)
    server = _server(directory, entry.server)
    sessions.issue(
        tenant=tenant,
        server=server,
        subject=directory.subject(entry.subject),
        actor=actor,
        name=entry.name,
        namespace=entry.namespace,
        origin=origin,
        consented_trust=entry.consented_trust,
        expires_at=entry.expires_at,
        idle_timeout_s=entry.idle_timeout_s,
        policy_version=entry.policy_version,
        credential=credential_of(entry, server),
    )


def credential_of(entry: SessionEntry, server: Server) -> UpstreamCredential | None:
    """The organisation's credential that a session names, else the one that it has for the server."""
    if entry.credential is None:
        return None
    rows = UpstreamCredential.objects.filter(server=server)
    with suppress(ValueError):
        if named := rows.filter(pk=UUID(entry.credential.key)).first():
            return named
    return rows.filter(user_id=None).first()


def _policy(tenant: Tenant, change: Change, actor: User | None, directory: Directory, origin: str) -> None:
    entry = change.entry
    assert isinstance(entry, PolicyEntry)
    server = _server(directory, entry.server)
    settings = PolicySettings(
        default_decision=entry.default_decision or "deny",
        enforce_on=entry.enforce_on or "all",
        policy_version=entry.policy_version or "v1",
        session_required=bool(entry.session_required),
        session_header=entry.session_header or PolicySettings().session_header,
        session_max_lifetime_s=entry.session_max_lifetime_s or PolicySettings().session_max_lifetime_s,
        session_idle_timeout_s=entry.session_idle_timeout_s or PolicySettings().session_idle_timeout_s,
        compat=entry.compat or "strict",
    )
    takes_identity = entry.auth_mode == AuthMode.HEADER if "auth_mode" in change.fields else server.identity_headers
    policies.change(
        server_id=server.pk,
        owner_id=tenant.pk,
        policy=Policy(entry.mode or server.policy_mode, settings, takes_identity),
        actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
    )


def _flow(tenant: Tenant, change: Change, actor: User | None, directory: Directory, origin: str) -> None:
    entry = change.entry
    assert isinstance(entry, FlowEntry)
    terms, wanted = rows.flow_wanted(entry, directory)
    flows.change(tenant=tenant, wanted=terms, actor=actor)
    for server, labels in wanted.values():
        flows.label(tenant=tenant, server=server, wanted=labels, actor=actor)


def _server(directory: Directory, slug: str) -> Server:
    server = directory.server(slug)
    assert server is not None  # the plan of this transaction found it
    return server


_DO: dict[str, Callable[[Tenant, Change, User | None, Directory, str], None]] = {
    "grant": _grant,
    "session": _session,
    "policy": _policy,
    "flow": _flow,
}
