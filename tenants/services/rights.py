"""Asking for a right, and naming who can help when it is missing."""

from __future__ import annotations

from core.errors import ForbiddenError
from tenants.choices import ROLE_RIGHTS, Right, Role
from tenants.models import Membership

_HELPERS_MAX = 3

_WHAT = {
    Right.VIEW_CALLS: "see calls",
    Right.RUN_TOOLS: "run tools",
    Right.MANAGE_KEYS: "manage keys",
    Right.MANAGE_ACCESS: "manage access",
    Right.PUBLISH: "change the servers that it publishes",
    Right.MANAGE_PEOPLE: "manage people",
    Right.MANAGE_SETTINGS: "change settings",
    Right.VIEW_AUDIT: "see the audit log",
    Right.VIEW_BILLING: "see billing",
    Right.MANAGE_BILLING: "change the plan or how it is paid",
    Right.MANAGE_SOURCES: "manage sources",
}


def require(membership: Membership, right: Right) -> None:
    """Raise ForbiddenError, with the people to ask, unless the membership carries the right."""
    if membership.can(right):
        return
    role = Role(membership.role).label.lower()
    raise ForbiddenError(
        f"Your role in this organisation, {role}, does not let you {_WHAT[right]}.",
        code="tenants.right_missing",
        next_step=f"Ask {who_can(membership, Right.MANAGE_PEOPLE)} to do it, or to change your role.",
        right=str(right),
    )


def who_can(membership: Membership, right: Right) -> str:
    """The people of the same organisation who have a right, owners first, as a sentence part."""
    roles = [role for role, rights in ROLE_RIGHTS.items() if right in rights]
    people = (
        Membership.objects.select_related("user")
        .filter(tenant_id=membership.tenant_id, role__in=roles, user__is_active=True)
        .exclude(pk=membership.pk)
        .order_by("created_at")
    )
    owners_first = sorted(people, key=lambda person: person.role != Role.OWNER)[:_HELPERS_MAX]
    return " or ".join(person.user.email for person in owners_first) or "an operator of the platform"
