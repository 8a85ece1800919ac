from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower

from core import clock
from core.models import Record
from tenants.choices import ROLE_RIGHTS, Right, Role
from tenants.models.tenant import Team, Tenant


class Membership(Record):
    """A person's role in an organisation. An organisation always keeps one owner (service rule)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    teams = models.ManyToManyField(Team, blank=True, related_name="members")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="membership_unique"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
        ]

    def can(self, right: Right) -> bool:
        return right in ROLE_RIGHTS[self.role]


class Invitation(Record):
    """An invitation by email, single use. Only a digest of the token is kept."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=10, choices=Role.choices)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    token_digest = models.BinaryField(max_length=32, unique=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                "tenant",
                Lower("email"),
                condition=models.Q(accepted_at=None, withdrawn_at=None),
                name="invitation_one_open_per_email",
            )
        ]

    @property
    def expired(self) -> bool:
        return self.accepted_at is None and self.expires_at <= clock.now()
