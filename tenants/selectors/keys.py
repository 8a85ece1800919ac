"""On whose behalf keys act: their maker's, as long as that person is a member. Afterwards a key has only what was granted to
the key itself, its agent or its team."""

from __future__ import annotations

from uuid import UUID

from tenants.models import APIKey, Membership, Tenant


def members_who_act(tenant: Tenant) -> set[UUID]:
    """The people on whose behalf keys of this organisation may act."""
    return set(Membership.objects.filter(tenant=tenant, user__is_active=True).values_list("user_id", flat=True))


def acting_user_id(key: APIKey, members: set[UUID]) -> UUID | None:
    return key.created_by_id if key.created_by_id in members else None
