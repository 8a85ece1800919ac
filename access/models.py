from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from access.limits import LimitKind, LimitScope, Period
from access.types import SideEffect, SubjectKind, Trust
from core import clock
from core.models import Record
from tenants.models.vault import SealedField

TRUST_CHOICES = [(trust.word, trust.word.capitalize()) for trust in Trust]


class Grant(Record):
    """The right of a subject to use a server: which tools, with which side effects, up to which trust, until when.

    Lives in the organisation's schema. No `tools` means every tool. A grant is never edited or removed, only revoked, so
    that a call can always be traced to the grant that allowed it.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    subject_kind = models.CharField(
        max_length=5, choices=[(kind.value, kind.value.capitalize()) for kind in SubjectKind]
    )
    subject = models.CharField(max_length=100)
    subject_label = models.CharField(max_length=254, blank=True)
    tools = ArrayField(models.CharField(max_length=128), default=list, blank=True)
    max_trust = models.CharField(max_length=6, choices=TRUST_CHOICES)
    side_effects = ArrayField(
        models.CharField(max_length=11, choices=[(e.value, e.value.capitalize()) for e in SideEffect])
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    granted_by_id = models.UUIDField(null=True, editable=False)
    granted_by_label = models.CharField(max_length=254, blank=True, editable=False)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["server", "subject_kind", "subject"], name="grant_by_subject")]
        constraints = [
            models.CheckConstraint(condition=~models.Q(subject=""), name="grant_has_subject"),
            models.CheckConstraint(condition=models.Q(side_effects__len__gt=0), name="grant_has_side_effect"),
            models.CheckConstraint(
                condition=models.Q(max_trust__in=["low", "medium", "high"]), name="grant_trust_known"
            ),
            models.CheckConstraint(
                condition=models.Q(subject_kind__in=["user", "agent", "team", "key"]), name="grant_subject_kind_known"
            ),
        ]

    @property
    def state(self) -> str:
        if self.revoked_at:
            return "revoked"
        if self.expires_at and self.expires_at <= clock.now():
            return "expired"
        return "active"


class Limit(Record):
    """How much an organisation lets be called or spent: by everybody, with a key, at a server or of a tool.

    Lives in the organisation's schema. Rows may be edited: a refusal names the limit and its amount.
    """

    name = models.CharField(max_length=100)
    scope = models.CharField(
        max_length=12,
        choices=[
            (LimitScope.ORGANISATION.value, "The whole organisation"),
            (LimitScope.KEY.value, "A key"),
            (LimitScope.SERVER.value, "A server"),
            (LimitScope.TOOL.value, "A tool of a server"),
        ],
    )
    key_id = models.UUIDField(null=True, blank=True)
    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    tool = models.CharField(max_length=128, blank=True)
    subject_label = models.CharField(max_length=254, blank=True)
    kind = models.CharField(
        max_length=5,
        choices=[
            (LimitKind.RATE.value, "Rate: requests in a time"),
            (LimitKind.QUOTA.value, "Quota: successful tool calls in a day or month"),
            (LimitKind.CAP.value, "Spending cap: money in a day or month"),
        ],
    )
    amount = models.DecimalField(max_digits=20, decimal_places=10)
    currency = models.CharField(max_length=3, default="USD")
    period = models.CharField(max_length=6, choices=[(period.value, period.value.capitalize()) for period in Period])
    hard = models.BooleanField(default=True)
    created_by_label = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="limit_amount_not_negative"),
            models.CheckConstraint(
                condition=models.Q(kind="rate", period__in=["second", "minute", "hour", "day"], amount__gte=1)
                | models.Q(kind__in=["quota", "cap"], period__in=["day", "month"]),
                name="limit_period_fits_kind",
            ),
            models.CheckConstraint(
                condition=models.Q(scope="organisation", server=None, tool="", key_id=None)
                | models.Q(scope="key", server=None, tool="")
                | models.Q(scope="server", server__isnull=False, tool="", key_id=None)
                | (models.Q(scope="tool", server__isnull=False, key_id=None) & ~models.Q(tool="")),
                name="limit_subject_fits_scope",
            ),
        ]

    def __str__(self) -> str:
        return self.name


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
