"""Who is in an organisation, and who is asked to join."""

from __future__ import annotations

from django.db.models import Case, IntegerField, QuerySet, Value, When

from tenants.choices import ROLE_RIGHTS, Right, Role
from tenants.models import Invitation, Membership, Team, Tenant, User

_ROLE_RANK = Case(
    *(When(role=role, then=Value(rank)) for rank, role in enumerate(Role.values)), output_field=IntegerField()
)


def list_members(tenant: Tenant) -> QuerySet[Membership]:
    """Every member with their teams: owners first, then by role and address. For members of the organisation."""
    return (
        Membership.objects.select_related("user")
        .prefetch_related("teams")
        .filter(tenant=tenant)
        .order_by(_ROLE_RANK, "user__email")
    )


def holders(tenant: Tenant, right: Right) -> list[User]:
    """Active members whose role gives a right: whom to tell, and whom to ask."""
    roles = [role for role, rights in ROLE_RIGHTS.items() if right in rights]
    members = Membership.objects.filter(tenant=tenant, role__in=roles, user__is_active=True).select_related("user")
    return [member.user for member in members]


def list_teams(tenant: Tenant) -> QuerySet[Team]:
    return Team.objects.filter(tenant=tenant).prefetch_related("members__user").order_by("name")


def list_invitations(tenant: Tenant) -> QuerySet[Invitation]:
    """What waits for an answer, expired ones included. For those who manage people."""
    return (
        Invitation.objects.select_related("invited_by")
        .filter(tenant=tenant, accepted_at=None, withdrawn_at=None)
        .order_by("-created_at")
    )
