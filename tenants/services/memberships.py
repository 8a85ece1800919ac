"""Who belongs to an organisation, in which role and in which teams.

An organisation always keeps an owner. Owners are made, changed and removed by owners only. Every change locks the
organisation first, so that two owners who demote each other at the same moment do not both succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from audit import services as audit
from core.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from tenants.choices import Right, Role
from tenants.context import tenant_scope
from tenants.models import Membership, Tenant, User
from tenants.services import consents, revisions, rights


def change_role(*, actor: Membership, membership_id: UUID, role: str) -> Membership:
    """Give a member another role; the same role changes nothing.

    Raises ForbiddenError without the right, InvalidError for an unknown role, ConflictError for the last owner.
    """
    check_role(role)
    with _people_of(actor) as current:
        member = _member(current, membership_id)
        if member.role == role:
            return member
        _check_owner_rule(current, member, role)
        if member.role == Role.OWNER:
            _keep_an_owner(member)
        before, member.role = member.role, role
        member.save(update_fields=["role", "updated_at"])
        _record("tenants:membership:changed", current, member, {"from": before, "to": role})
    return member


def remove(*, actor: Membership, membership_id: UUID) -> Membership:
    """End a membership: somebody else's with the right to manage people, one's own without it.

    Keys that the person made belong to the organisation and stay, without what was granted to the person. Applications that
    acted for the person here act no more.
    Raises ConflictError for the last owner.
    """
    leaving = actor.pk == membership_id
    with _people_of(actor, needs_right=not leaving) as current:
        member = _member(current, membership_id)
        if not leaving:
            _check_owner_rule(current, member, member.role)
        if member.role == Role.OWNER:
            _keep_an_owner(member)
        _record("tenants:membership:left" if leaving else "tenants:membership:removed", current, member, {})
        consents.end_for_member(member.tenant, member.user)
        Membership.objects.filter(pk=member.pk).delete()
    return member


def join(*, tenant: Tenant, user: User, role: str) -> Membership:
    """Make a person a member. Raises ConflictError when they are one already. Called inside the inviter's transaction."""
    if Membership.objects.filter(tenant=tenant, user=user).exists():
        raise ConflictError(
            f"You are a member of {tenant.name} already.",
            code="tenants.member_already",
            next_step="Open the organisation.",
        )
    member = Membership.objects.create(tenant=tenant, user=user, role=role)
    _record("tenants:membership:joined", member, member, {"role": role})
    revisions.touch(tenant.pk)
    return member


def check_role(role: str) -> None:
    if role not in Role.values:
        raise InvalidError(f"A role is one of {', '.join(Role.values)}.", code="tenants.role_unknown", field="role")


def assignable_roles(actor: Membership) -> list[str]:
    """The roles that this person may give to others."""
    if not actor.can(Right.MANAGE_PEOPLE):
        return []
    return [role for role in Role.values if role != Role.OWNER or actor.role == Role.OWNER]


@contextmanager
def _people_of(actor: Membership, *, needs_right: bool = True) -> Iterator[Membership]:
    """Lock the people of the actor's organisation; gives the actor as they are now, not as the page was loaded."""
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        current = Membership.objects.select_related("tenant", "user").filter(pk=actor.pk).first()
        if current is None:
            raise ForbiddenError("You no longer belong to this organisation.", code="tenants.member_gone")
        if needs_right:
            rights.require(current, Right.MANAGE_PEOPLE)
        yield current
        revisions.touch(actor.tenant_id)


def _member(actor: Membership, membership_id: UUID) -> Membership:
    member = (
        Membership.objects.select_related("tenant", "user").filter(tenant_id=actor.tenant_id, pk=membership_id).first()
    )
    if member is None:
        raise NotFoundError("There is no such member in this organisation.", next_step="Reload the list of people.")
    return member


def _check_owner_rule(actor: Membership, member: Membership, role: str) -> None:
    if actor.role != Role.OWNER and Role.OWNER in {member.role, role}:
        raise ForbiddenError(
            "Only an owner can make, change or remove owners.",
            code="tenants.owner_only",
            next_step="Ask an owner of the organisation.",
            field="role",
        )


def _keep_an_owner(member: Membership) -> None:
    owners = Membership.objects.filter(tenant_id=member.tenant_id, role=Role.OWNER, user__is_active=True)
    if not owners.exclude(pk=member.pk).exists():
        raise ConflictError(
            f"{member.user} is the only owner.",
            code="tenants.last_owner",
            next_step="Make somebody else an owner first.",
            field="role",
        )


def _record(action: str, actor: Membership, member: Membership, data: dict[str, object]) -> None:
    with tenant_scope(member.tenant):
        audit.record(
            action,
            actor=audit.Party("user", str(actor.user_id), actor.user.email),
            target=audit.Party("membership", str(member.pk), member.user.email),
            data=data,
        )
