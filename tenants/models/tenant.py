from __future__ import annotations

from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin

from core.models import Record

SLUG_REGEX = r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z"
slug_validator = RegexValidator(
    SLUG_REGEX,
    "Use 1 to 40 lower-case letters, digits and hyphens, beginning and ending with a letter or digit.",
)


class Tenant(TenantMixin, Record):  # type: ignore[django-manager-missing]
    """An organisation with a schema of its own: consumer, provider, or both.

    `schema_name` is generated and never user text. `revision` grows with every change of a key or grant, and tells gateways
    which compiled entry is newest.
    """

    auto_create_schema: ClassVar[bool] = False
    auto_drop_schema: ClassVar[bool] = False

    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=40, unique=True, validators=[slug_validator])
    revision = models.BigIntegerField(default=0, editable=False)
    suspended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "organisation"
        ordering = ["name"]
        constraints = [
            # The template that new organisations are cloned from is a schema without a row here.
            models.CheckConstraint(
                condition=models.Q(schema_name__regex=r"^t_[0-9a-z]{26}$"), name="tenant_schema_name_generated"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class FormerSlug(Record):
    """A short name that an organisation had: it leads its members to the present one, and no other organisation gets it."""

    slug = models.CharField(max_length=40, unique=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="former_slugs")

    def __str__(self) -> str:
        return self.slug


class Domain(DomainMixin):
    """A host name of an organisation."""


class Team(Record):
    """A group inside an organisation; the write boundary of the servers that it owns."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="teams")
    name = models.CharField(max_length=100)
    slug = models.CharField(max_length=40, validators=[slug_validator])

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="team_slug_unique_in_tenant")]

    def __str__(self) -> str:
        return self.name

    @property
    def namespace(self) -> str:
        """The team's technical name in manifests."""
        return f"mcp-team-{self.slug}"
