from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from core import clock
from core.models import Record
from tenants.choices import ListForm, Scope
from tenants.models.tenant import Team, Tenant


class APIKey(Record):
    """A credential of an organisation. The secret is shown once; `secret_digest` is its HMAC under the pepper.

    Empty `server_ids` means every server that the organisation may use; what a call may do is decided by grants in any case.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    key_id = models.CharField(max_length=12, unique=True, editable=False)
    secret_digest = models.BinaryField(max_length=32, editable=False)
    env = models.CharField(max_length=8, editable=False)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices))
    server_ids = ArrayField(models.UUIDField(), default=list, blank=True)
    networks = ArrayField(
        models.CharField(max_length=43),
        default=list,
        blank=True,
        help_text="Address ranges that it may be used from; none: any address.",
    )
    agent = models.CharField(max_length=100, blank=True, help_text="Name of the agent that uses the key.")
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, blank=True, related_name="api_keys")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    environment = models.CharField(
        max_length=40,
        blank=True,
        help_text="What it is for, such as production; grants may hold for some of them alone.",
    )
    asserts_identity = models.BooleanField(
        default=False,
        help_text="May say for whom it calls (X-MCP-Human-ID, -Agent-ID, -Team-ID), at servers that take it.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    list_form = models.CharField(max_length=6, choices=ListForm.choices, default=ListForm.ALL)
    chosen_tools = ArrayField(
        models.CharField(max_length=128),
        default=list,
        blank=True,
        help_text="Names at /mcp, listed in the form chosen.",
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(scopes__len__gt=0), name="api_key_has_scope"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def prefix(self) -> str:
        """What may be shown of the key at any time."""
        return f"mk_{self.env}_{self.key_id}_…"

    @property
    def state(self) -> str:
        if self.revoked_at:
            return "revoked"
        if self.expires_at and self.expires_at <= clock.now():
            return "expired"
        return "active"
