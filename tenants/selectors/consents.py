"""Which consents live, and on whose behalf."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from core import clock
from tenants.models import Consent, Tenant, User
from tenants.models.consent import KEY_PREFIX


def live(tenant: Tenant) -> QuerySet[Consent]:
    """Neither revoked nor expired; whether a person still belongs to the organisation is the caller's question."""
    return _live().filter(tenant=tenant)


def of_person(user: User) -> QuerySet[Consent]:
    """What a person agreed to, in every organisation of theirs that is not suspended."""
    return (
        _live()
        .filter(user=user, kind=Consent.Kind.PERSON, tenant__memberships__user=user, tenant__suspended_at=None)
        .select_related("tenant", "client__keys")
    )


def acts(consent: Consent, members: set[UUID]) -> bool:
    """A person's consent ends with their membership; a machine client is the organisation's own."""
    return consent.kind == Consent.Kind.MACHINE or consent.user_id in members


def id_of(key_id: str) -> UUID | None:
    """The consent that a key id names; None when it names none."""
    try:
        return UUID(hex=key_id[len(KEY_PREFIX) :]) if key_id.startswith(KEY_PREFIX) else None
    except ValueError:
        return None


def _live() -> QuerySet[Consent]:
    return Consent.objects.filter(revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=clock.now()))
