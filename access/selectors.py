"""Reading grants of the active organisation."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from access.models import Grant
from access.types import GrantRule, Principal, SideEffect, SubjectKind, Trust
from core import clock

# Ended grants stay in the compiled policy this long, so that a refusal can say "expired" or "revoked" and not just "none".
_REMEMBER_ENDED = timedelta(days=30)


def list_grants() -> QuerySet[Grant]:
    return Grant.objects.select_related("server", "server__provider")


def live_grants_on(server_id: UUID) -> QuerySet[Grant]:
    return Grant.objects.filter(_live(), server_id=server_id)


def grants_of(principal: Principal) -> QuerySet[Grant]:
    """Live grants whose subject is this principal."""
    subjects = Q()
    for kind, value in principal.subjects():
        subjects |= Q(subject_kind=kind, subject=value)
    return Grant.objects.filter(subjects, _live()) if subjects else Grant.objects.none()


def compile_rules() -> list[GrantRule]:
    """Every grant that a gateway must know of, as the engine's values."""
    horizon = clock.now() - _REMEMBER_ENDED
    rows = Grant.objects.filter(
        Q(revoked_at=None) | Q(revoked_at__gte=horizon), Q(expires_at=None) | Q(expires_at__gte=horizon)
    ).order_by("pk")
    return [to_rule(grant) for grant in rows]


def to_rule(grant: Grant) -> GrantRule:
    return GrantRule(
        grant_id=grant.pk,
        server_id=grant.server_id,
        subject_kind=SubjectKind(grant.subject_kind),
        subject=grant.subject,
        max_trust=Trust.parse(grant.max_trust),
        side_effects=frozenset(SideEffect(effect) for effect in grant.side_effects),
        tools=frozenset(grant.tools),
        expires_at=grant.expires_at,
        revoked_at=grant.revoked_at,
    )


def _live() -> Q:
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=clock.now()))
