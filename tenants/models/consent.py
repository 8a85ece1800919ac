from __future__ import annotations

from allauth.idp.oidc.models import Client
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from core import clock
from core.models import Record
from tenants.choices import Scope
from tenants.models.tenant import Tenant

KEY_PREFIX = "oauth_"


class Consent(Record):
    """What an OAuth client may do in an organisation: a person agreed to it, or an admin made the client for an agent.

    Access tokens name their consent, so they are worth nothing once it is revoked, has expired, or its person has left the
    organisation. As with a key, what a call may do is decided by grants in any case.
    """

    class Kind(models.TextChoices):
        PERSON = "person", "On behalf of a person"
        MACHINE = "machine", "For an agent of its own"

    kind = models.CharField(max_length=8, choices=Kind.choices, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="consents")
    # Whoever agreed, or made the machine client.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="consents")
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="consents")
    name = models.CharField(max_length=100)
    agent = models.CharField(max_length=100, blank=True)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices))
    server_ids = ArrayField(models.UUIDField(), default=list, blank=True)  # empty: every granted one
    networks = ArrayField(
        models.CharField(max_length=43),
        default=list,
        blank=True,
        help_text="Address ranges that it may be used from; none: any address.",
    )
    resources = ArrayField(models.TextField())  # the audiences that its tokens may have (RFC 8707)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(scopes__len__gt=0), name="consent_has_scope"),
            models.CheckConstraint(condition=models.Q(resources__len__gt=0), name="consent_has_resource"),
        ]
        indexes = [
            # Which of an organisation's entries are live, at each compilation of its entry.
            models.Index(fields=["tenant"], condition=models.Q(revoked_at=None), name="consent_live_by_tenant"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def key_id(self) -> str:
        """How access tokens and gateways name it."""
        return f"{KEY_PREFIX}{self.pk.hex}"

    @property
    def proof(self) -> str:
        """How its client proves itself: keys | secret | none."""
        if hasattr(self.client, "keys"):
            return "keys"
        return "secret" if self.client.type == Client.Type.CONFIDENTIAL else "none"

    @property
    def state(self) -> str:
        if self.revoked_at:
            return "revoked"
        if self.expires_at and self.expires_at <= clock.now():
            return "expired"
        return "active"
