"""Who is in an organisation, and who is asked to join."""

from __future__ import annotations

from django.db.models import Case, IntegerField, QuerySet, Value, When

from tenants.choices import Role
from tenants.models import Invitation, Membership, Team, Tenant

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


def list_teams(tenant: Tenant) -> QuerySet[Team]:
    return Team.objects.filter(tenant=tenant).prefetch_related("members__user").order_by("name")


def list_invitations(tenant: Tenant) -> QuerySet[Invitation]:
    """What waits for an answer, expired ones included. For those who manage people."""
    return (
        Invitation.objects.select_related("invited_by")
        .filter(tenant=tenant, accepted_at=None, withdrawn_at=None)
        .order_by("-created_at")
    )
