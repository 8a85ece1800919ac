"""Giving and revoking access. Runs inside the organisation's schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from access.models import Grant
from access.types import SideEffect, SubjectKind, Trust
from audit import services as audit
from catalog.models import Server
from core import clock
from core.errors import InvalidError, NotFoundError
from tenants.models import Tenant, User
from tenants.services import revisions


@dataclass(frozen=True, slots=True)
class Subject:
    kind: str
    id: str
    label: str = ""


def give(
    *,
    tenant: Tenant,
    server: Server,
    subject: Subject,
    actor: User | None,
    max_trust: str = "low",
    side_effects: Sequence[str] = (SideEffect.READ,),
    tools: Sequence[str] = (),
    expires_at: datetime | None = None,
    note: str = "",
) -> Grant:
    """Let a subject use a server that the organisation may see (the caller has checked that).

    Raises InvalidError for an unknown word, an unknown tool or a past expiry.
    """
    _check(subject, max_trust, side_effects, expires_at)
    known = set(server.current_version.tools.values_list("name", flat=True)) if server.current_version else set()
    unknown = sorted(set(tools) - known)
    if unknown:
        raise InvalidError(
            f"The server has no tool named {unknown[0]!r}.", code="access.tool_unknown", field="tools", unknown=unknown
        )
    with transaction.atomic():
        grant = Grant.objects.create(
            server=server,
            subject_kind=subject.kind,
            subject=subject.id,
            subject_label=subject.label[:254],
            tools=sorted(set(tools)),
            max_trust=max_trust,
            side_effects=sorted(set(side_effects)),
            expires_at=expires_at,
            granted_by_id=actor.pk if actor else None,
            granted_by_label=actor.email if actor else "system",
            note=note[:500],
        )
        _audit(
            "access:grant:given",
            actor,
            grant,
            {"server": server.slug, "trust": max_trust, "effects": grant.side_effects},
        )
        revisions.touch(tenant.pk)
    return grant


def revoke(*, tenant: Tenant, grant_id: UUID, actor: User | None) -> Grant:
    """End a grant; a second time changes nothing. Gateways refuse within a second."""
    with transaction.atomic():
        grant = Grant.objects.select_for_update().filter(pk=grant_id).first()
        if grant is None:
            raise NotFoundError("There is no such grant in this organisation.")
        if grant.revoked_at is None:
            grant.revoked_at = clock.now()
            grant.save(update_fields=["revoked_at", "updated_at"])
            _audit("access:grant:revoked", actor, grant, {})
            revisions.touch(tenant.pk)
    return grant


def _check(subject: Subject, max_trust: str, side_effects: Sequence[str], expires_at: datetime | None) -> None:
    if subject.kind not in set(SubjectKind) or not subject.id:
        raise InvalidError("Name the user, agent, team or key that the grant is for.", code="access.subject_missing")
    if max_trust not in {trust.word for trust in Trust}:
        raise InvalidError("Trust is low, medium or high.", code="access.trust_unknown", field="max_trust")
    if not side_effects or not set(side_effects) <= set(SideEffect):
        raise InvalidError(
            "Choose at least one of read, write and destructive.",
            code="access.side_effect_unknown",
            field="side_effects",
        )
    if expires_at is not None and expires_at <= clock.now():
        raise InvalidError("The expiry must be in the future.", code="access.expiry_past", field="expires_at")


def _audit(action: str, actor: User | None, grant: Grant, data: dict[str, object]) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email) if actor else audit.SYSTEM,
        target=audit.Party("grant", str(grant.pk), grant.subject_label or grant.subject),
        data=data,
    )
