"""As whom an organisation, or a person of it, is known to a server."""

from __future__ import annotations

from django.db import models

from core.models import Record
from tenants.models.vault import SealedField


class CredentialKind(models.TextChoices):
    HEADER = "header", "Header"
    BEARER = "bearer", "Bearer token"
    BASIC = "basic", "User name and password"
    OAUTH_CLIENT = "oauth_client", "OAuth client"
    OAUTH_USER = "oauth_user", "Connected account"


class CredentialStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    FAILING = "failing", "Failing"
    ENDED = "ended", "Ended"


class UpstreamCredential(Record):
    """What the organisation, or one person of it, shows to a server: at most one of each.

    `secret` is the sealed header `{"name", "value"}` that gateways send; `renewal` is sealed as well and never leaves the
    control plane. Both are good for `origin` alone: a server that moves to another one gets nothing.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=CredentialKind.choices)
    user_id = models.UUIDField(null=True, editable=False)
    user_label = models.CharField(max_length=254, blank=True, editable=False)
    origin = models.CharField(max_length=300, editable=False)
    header = models.CharField(max_length=64, editable=False)
    secret = SealedField()
    renewal = SealedField(default=b"")
    issuer = models.CharField(max_length=500, blank=True, editable=False)
    scope = models.CharField(max_length=1000, blank=True, editable=False)
    status = models.CharField(max_length=7, choices=CredentialStatus.choices, default=CredentialStatus.ACTIVE)
    status_detail = models.CharField(max_length=300, blank=True)
    checked_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    renew_at = models.DateTimeField(null=True)  # when the next attempt to renew is due
    failures = models.PositiveIntegerField(default=0)
    created_by_label = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["server", "user_id"], name="credential_one_of_each_owner", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=models.Q(kind=CredentialKind.OAUTH_USER, user_id__isnull=False)
                | ~models.Q(kind=CredentialKind.OAUTH_USER) & models.Q(user_id=None),
                name="credential_owner_fits_kind",
            ),
        ]

    @property
    def renews(self) -> bool:
        return self.kind in {CredentialKind.OAUTH_CLIENT, CredentialKind.OAUTH_USER}


class OAuthClient(Record):
    """As whom the organisation is known to an authorization server: entered by hand, or registered by us."""

    issuer = models.CharField(max_length=500, unique=True)
    client_id = models.CharField(max_length=500)
    secret = SealedField(default=b"")
    auth_method = models.CharField(max_length=30, default="none")
    source = models.CharField(max_length=10)  # entered | dcr


class ConnectAttempt(Record):
    """A person on the way to an authorization server and back: ends after ten minutes, or when it is used, once."""

    state_digest = models.BinaryField(max_length=32, unique=True)
    session_digest = models.BinaryField(max_length=32)
    user_id = models.UUIDField()
    server = models.ForeignKey("catalog.Server", on_delete=models.CASCADE, related_name="+")
    facts = models.JSONField()  # of the authorization server, as they were when the person left
    verifier = SealedField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
