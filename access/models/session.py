from __future__ import annotations

from django.db import models

from access.models.connection import UpstreamCredential
from access.models.grant import TRUST_CHOICES, Origin, subject_parts
from access.types import SubjectKind
from core import clock
from core.models import Record


class AgentSession(Record):
    """A stretch of work of an agent at a server: how much trust a person consented to, and for how long.

    Callers name it in a header (`catalog.policies`); a name is no secret, because only its subject may use it. It never gives
    more than the grants do.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    name = models.CharField(
        max_length=253, help_text="Unique among the sessions of its namespace that are not revoked."
    )
    namespace = models.CharField(max_length=63)
    subject_user = models.CharField(max_length=200, blank=True)
    subject_agent = models.CharField(max_length=200, blank=True)
    subject_team = models.CharField(max_length=200, blank=True)
    subject_label = models.CharField(max_length=254, blank=True)
    consented_trust = models.CharField(max_length=6, choices=TRUST_CHOICES)
    expires_at = models.DateTimeField(null=True, blank=True)
    idle_timeout_s = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds without a call after which it ends; empty for what the server says."
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    policy_version = models.CharField(max_length=63, blank=True)
    credential = models.ForeignKey(
        UpstreamCredential,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="+",
        help_text="What is shown to the server for its calls. When it is gone, they are refused.",
    )
    origin = models.CharField(max_length=7, choices=Origin.choices, default=Origin.PAGE, editable=False)
    issued_by_id = models.UUIDField(null=True, editable=False)
    issued_by_label = models.CharField(max_length=254, blank=True, editable=False)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["server"], name="session_by_server")]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(subject_user="", subject_agent="", subject_team=""), name="session_has_a_subject"
            ),
            models.CheckConstraint(
                condition=models.Q(consented_trust__in=["low", "medium", "high"]), name="session_trust_known"
            ),
            models.CheckConstraint(
                condition=models.Q(idle_timeout_s=None) | models.Q(idle_timeout_s__gte=60),
                name="session_idle_timeout_fits",
            ),
            models.UniqueConstraint(
                fields=["namespace", "name"], condition=models.Q(revoked_at=None), name="session_name_unique"
            ),
        ]

    @property
    def state(self) -> str:
        """Revoked, expired or active by its own fields; the server's policy may end it earlier (`access.selectors.sessions`)."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= clock.now() else "active"

    @property
    def parts(self) -> list[tuple[SubjectKind, str]]:
        return subject_parts(self)

    @property
    def kind_words(self) -> str:
        return " and ".join(kind.value for kind, _ in self.parts)

    @property
    def who(self) -> str:
        return self.subject_label or ", ".join(value for _, value in self.parts)
