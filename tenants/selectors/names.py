"""What members and teams of an organisation are called by people and files, and the ids behind it."""

from __future__ import annotations

from tenants.models import Membership, Team, Tenant


def people(tenant: Tenant) -> dict[str, str]:
    """Ids of active members by address, in lower case."""
    rows = Membership.objects.filter(tenant=tenant, user__is_active=True).values_list("user__email", "user_id")
    return {email.lower(): str(user_id) for email, user_id in rows}


def teams(tenant: Tenant) -> dict[str, str]:
    """Ids of teams by short name and by namespace."""
    found: dict[str, str] = {}
    for team in Team.objects.filter(tenant=tenant):
        found[team.slug] = found[team.namespace] = str(team.pk)
    return found
