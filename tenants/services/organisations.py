"""Founding an organisation within what the platform's settings allow, and closing one for a time."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from audit import services as audit
from core import clock
from core.errors import ForbiddenError, InvalidError, LimitReachedError
from tenants.choices import Role
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership, Tenant, User
from tenants.services import onboarding, revisions, settings


def found(*, name: str, slug: str, founder: User) -> Tenant:
    """Make an organisation owned by its founder; without a short name, one is made of the name.

    Raises ForbiddenError when only operators may, LimitReachedError when the person owns as many as allowed, and what
    `onboarding.create_organisation` raises.
    """
    check_may_found(founder)
    slug = slug.strip() or onboarding.suggest_slug(name)
    if not slug:
        raise InvalidError(
            "No short name can be made of this name: give one.", code="tenants.slug_missing", field="slug"
        )
    return onboarding.create_organisation(name=name, slug=slug, owner=founder)


def check_may_found(founder: User) -> None:
    if settings.get_text("organisation_creation") == "operators" and not founder.is_staff:
        raise ForbiddenError(
            "Organisations are created by operators here.",
            code="tenants.creation_closed",
            next_step="Ask an operator to create one, or ask a colleague for an invitation.",
        )
    most = settings.get_int("max_organisations_per_person")
    owned = Membership.objects.filter(user=founder, role=Role.OWNER).count()
    if owned >= most and not founder.is_staff:
        raise LimitReachedError(
            f"You own {owned} organisations, as many as one person may.",
            code="tenants.organisations_max",
            next_step="Hand one over to another owner, or ask an operator.",
        )


def suspend(*, tenant_id: UUID, operator: User) -> Tenant:
    """Close an organisation: its people cannot enter and its calls are refused; a second time changes nothing."""
    return _set_suspension(tenant_id, operator, suspended=True)


def resume(*, tenant_id: UUID, operator: User) -> Tenant:
    """Open a suspended organisation again."""
    return _set_suspension(tenant_id, operator, suspended=False)


def _set_suspension(tenant_id: UUID, operator: User, *, suspended: bool) -> Tenant:
    if not operator.is_staff:
        raise ForbiddenError("Only operators suspend organisations.", next_step="Ask an operator of the platform.")
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
        if (tenant.suspended_at is not None) == suspended:
            return tenant
        tenant.suspended_at = clock.now() if suspended else None
        tenant.save(update_fields=["suspended_at", "updated_at"])
        action = "tenants:organisation:suspended" if suspended else "tenants:organisation:resumed"
        actor = audit.Party("operator", str(operator.pk), operator.email)
        target = audit.Party("organisation", str(tenant.pk), tenant.name)
        # Both the organisation and the platform keep the fact.
        for scope in (tenant_scope(tenant), platform_scope()):
            with scope:
                audit.record(action, actor=actor, target=target)
        revisions.touch(tenant.pk)
    return tenant
