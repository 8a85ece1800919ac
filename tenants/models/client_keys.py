from __future__ import annotations

from allauth.idp.oidc.models import Client
from django.db import models


class ClientKeys(models.Model):
    """The public keys with which an OAuth client proves itself in place of a secret (private_key_jwt, RFC 7523)."""

    client = models.OneToOneField(Client, on_delete=models.CASCADE, primary_key=True, related_name="keys")
    jwks = models.JSONField(default=dict, help_text="The keys, or the last copy of what stands at the address.")
    address = models.TextField(blank=True, help_text="Where the client publishes its keys; empty: they stand here.")
    fresh_until = models.DateTimeField(null=True, blank=True, editable=False)  # of the copy
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)  # when the address was last asked

    class Meta:
        verbose_name_plural = "client keys"

    def __str__(self) -> str:
        return f"keys of {self.client_id}"


class UsedAssertion(models.Model):
    """A proof that a client has brought: until it is over, the same one is not taken again by any process."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)  # SHA-256 of its `jti`
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "digest"], name="used_assertion_once")]

    def __str__(self) -> str:
        return f"used by {self.client_id}"


class SpentSignIn(models.Model):
    """An assertion of a SAML provider that has let somebody in: until it is over, it lets nobody in again."""

    digest = models.CharField(max_length=64, primary_key=True)  # SHA-256 of who says it and its id
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.digest[:12]
