from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from access.types import SideEffect, SubjectKind, Trust
from core import clock
from core.models import Record

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
