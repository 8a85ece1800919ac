"""Creating an organisation: a row, an owner, and a schema, all or nothing."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from audit import services as audit
from core.errors import ConflictError, InvalidError
from tenants import signals
from tenants.choices import Role
from tenants.context import tenant_scope
from tenants.models import FormerSlug, Membership, Tenant, User
from tenants.services import schemas

# Names that would read like a place of ours.
RESERVED_SLUGS = frozenset({"new", "admin", "api", "www", "platform", "public", "operations", "static", "mcp", "o"})


def create_organisation(*, name: str, slug: str, owner: User) -> Tenant:
    """Make an organisation that its owner can use at once.

    Raises InvalidError for a bad name, ConflictError when the short name is taken.
    """
    slug = slug.strip().lower()
    if slug in RESERVED_SLUGS:
        raise taken(slug, "reserved")
    tenant = Tenant(name=name.strip(), slug=slug, schema_name=schemas.new_name())
    try:
        tenant.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidError(messages[0], code="tenants.name_invalid", field=field) from error
    try:
        with transaction.atomic():
            tenant.save()
            refuse_former(tenant)
            Membership.objects.create(tenant=tenant, user=owner, role=Role.OWNER)
            schemas.create(tenant.schema_name)
            with tenant_scope(tenant):
                signals.tenant_prepared.send(sender=Tenant, tenant=tenant)
                audit.record(
                    "tenants:organisation:created",
                    actor=audit.Party("user", str(owner.pk), owner.email),
                    target=audit.Party("organisation", str(tenant.pk), tenant.name),
                    data={"slug": slug},
                )
    except IntegrityError as error:
        if "slug" not in str(error):
            raise
        raise taken(slug) from error
    return tenant


def refuse_former(tenant: Tenant) -> None:
    """Raise ConflictError when the short name of a saved organisation leads to another one.

    Asked after the row is written: whoever gave the short name up in the same moment has committed by then.
    """
    if FormerSlug.objects.filter(slug=tenant.slug).exclude(tenant=tenant).exists():
        raise taken(tenant.slug)


def taken(slug: str, how: str = "taken") -> ConflictError:
    return ConflictError(
        f"The short name {slug!r} is {how}.", code="tenants.slug_taken", next_step="Choose another.", field="slug"
    )


def suggest_slug(name: str) -> str:
    """A short name made of an organisation's name; empty when nothing of it fits."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
