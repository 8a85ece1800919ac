"""Giving an organisation another name or short name. What it was called before leads to it from then on, and to nobody else."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from audit import services as audit
from core.errors import InvalidError
from tenants.choices import Right
from tenants.context import platform_scope, tenant_scope
from tenants.models import FormerSlug, Membership, Tenant
from tenants.services import onboarding, revisions, rights


def rename(*, actor: Membership, name: str, slug: str) -> Tenant:
    """Name the actor's organisation so. Raises ForbiddenError, InvalidError, ConflictError when the short name is another's."""
    rights.require(actor, Right.MANAGE_SETTINGS)
    name, slug = name.strip(), slug.strip().lower()
    try:
        with transaction.atomic():
            tenant = Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
            before = (tenant.name, tenant.slug)
            if before == (name, slug):
                return tenant
            tenant.name, tenant.slug = name, slug
            _check(tenant, slug_changes=slug != before[1])
            tenant.save(update_fields=["name", "slug", "updated_at"])
            if slug != before[1]:
                _move(tenant, before[1])
            _record(actor, tenant, before)
            revisions.touch(tenant.pk)
    except IntegrityError as error:
        if "slug" not in str(error):
            raise
        raise onboarding.taken(slug) from error
    return tenant


def _check(tenant: Tenant, *, slug_changes: bool) -> None:
    if slug_changes and tenant.slug in onboarding.RESERVED_SLUGS:
        raise onboarding.taken(tenant.slug, "reserved")
    try:
        tenant.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidError(messages[0], code="tenants.name_invalid", field=field) from error


def _move(tenant: Tenant, old: str) -> None:
    onboarding.refuse_former(tenant)
    FormerSlug.objects.filter(slug=tenant.slug).delete()
    FormerSlug.objects.create(slug=old, tenant=tenant)


def _record(actor: Membership, tenant: Tenant, before: tuple[str, str]) -> None:
    """Both the organisation and the platform keep the fact."""
    old = dict(zip(("name", "slug"), before, strict=True))
    data = {
        field: {"from": was, "to": getattr(tenant, field)}
        for field, was in old.items()
        if was != getattr(tenant, field)
    }
    party = audit.Party("user", str(actor.user_id), actor.user.email)
    target = audit.Party("organisation", str(tenant.pk), tenant.name)
    for scope in (tenant_scope(tenant), platform_scope()):
        with scope:
            audit.record("tenants:organisation:renamed", actor=party, target=target, data=data)
