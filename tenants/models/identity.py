"""How an organisation's own directory knows its people: where they sign in, which domains are its own, who is provisioned."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower

from core import domains
from core.models import Record, SealedField
from tenants.choices import Role
from tenants.models.tenant import Team, Tenant

ASSIGNED_ROLES = [(role.value, role.label) for role in Role if role != Role.OWNER]


class Protocol(models.TextChoices):
    OPENID = "openid", "OpenID Connect"
    SAML = "saml", "SAML 2.0"


class IdentityProvider(Record):
    """The OpenID or SAML provider of an organisation.

    Of SAML `issuer` is the provider's entityID, `sso_url` where it is asked and `certificates` (PEM, one after the other) whose
    keys sign; `client_id` and `secret` are OpenID's. `enforced` lets people of its domains in by no other way; it needs a test
    that worked since the last change.
    """

    owner_tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="identity_provider")
    protocol = models.CharField(max_length=6, choices=Protocol.choices, default=Protocol.OPENID)
    issuer = models.CharField(max_length=500)
    client_id = models.CharField(max_length=500, blank=True)
    secret = SealedField(default=b"")
    sso_url = models.CharField(max_length=1000, blank=True)
    certificates = models.TextField(blank=True)
    enabled = models.BooleanField(default=True)
    enforced = models.BooleanField(default=False)
    joins = models.BooleanField(default=True)
    default_role = models.CharField(max_length=10, choices=ASSIGNED_ROLES, default=Role.MEMBER)
    groups_claim = models.CharField(max_length=100, default="groups")
    tested_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.issuer


BY_RECORD = "TXT record"  # how a domain was proven that nobody had to confirm


class EmailDomain(Record):
    """A domain whose mail addresses are an organisation's, once that is proven. Nobody else can prove it then."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="email_domains")
    domain = models.CharField(max_length=253)
    token = models.CharField(max_length=64)
    proven_at = models.DateTimeField(null=True, blank=True)
    proven_by = models.CharField(max_length=254, blank=True, help_text="How: a TXT record, or which operator.")
    checked_at = models.DateTimeField(null=True, blank=True)
    looked_at = models.DateTimeField(null=True, blank=True, help_text="When a proof was last asked for again.")
    failed_looks = models.PositiveSmallIntegerField(
        default=0, help_text="Days in a row on which the record of a proven domain was missing."
    )
    detail = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["domain"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "domain"], name="email_domain_once"),
            models.UniqueConstraint(
                fields=["domain"], condition=models.Q(proven_at__isnull=False), name="email_domain_of_one"
            ),
        ]

    def __str__(self) -> str:
        return self.domain

    @property
    def challenge(self) -> domains.Challenge:
        return domains.Challenge(self.domain, self.token)


class GroupRule(Record):
    """What a group of the directory gives: a team, a role, or both."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="group_rules")
    group = models.CharField(max_length=200)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    role = models.CharField(max_length=10, choices=ASSIGNED_ROLES, blank=True)

    class Meta:
        ordering = ["group"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "group", "team"], nulls_distinct=False, name="group_rule_once"),
            models.CheckConstraint(
                condition=models.Q(team__isnull=False) | ~models.Q(role=""), name="group_rule_gives_something"
            ),
        ]

    def __str__(self) -> str:
        return self.group


class DirectoryUser(Record):
    """A person as one organisation's directory knows them. The account is the person's own; what the directory calls it is here.

    `subject` is the provider's name for them once they signed in. Who is not active gets in by no way and has no membership.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="directory_users")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=255, blank=True)
    user_name = models.CharField(max_length=254)
    external_id = models.CharField(max_length=255, blank=True)
    given_name = models.CharField(max_length=150, blank=True)
    family_name = models.CharField(max_length=150, blank=True)
    display_name = models.CharField(max_length=200, blank=True)
    active = models.BooleanField(default=True)
    provisioned = models.BooleanField(default=False, help_text="By SCIM; else by signing in.")

    class Meta:
        ordering = ["created_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="directory_user_once"),
            models.UniqueConstraint(
                fields=["tenant", "subject"], condition=~models.Q(subject=""), name="directory_subject_once"
            ),
            models.UniqueConstraint("tenant", Lower("user_name"), name="directory_user_name_once"),
        ]

    def __str__(self) -> str:
        return self.user_name


class DirectoryGroup(Record):
    """A group that the directory provisions: a team whose members it says."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="directory_groups")
    team = models.OneToOneField(Team, on_delete=models.CASCADE, related_name="directory_group")
    external_id = models.CharField(max_length=255, blank=True)

    class Meta:
        ordering = ["created_at", "pk"]

    def __str__(self) -> str:
        return self.team.name


class ScimToken(Record):
    """What the directory shows us. Only a digest is kept."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="scim_tokens")
    name = models.CharField(max_length=100)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    created_by = models.CharField(max_length=254)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
