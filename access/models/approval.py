"""Single calls that a person approves: which tools ask for it, and the calls that wait."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from core import clock
from core.models import Record
from tenants.models.vault import SealedField


class ToolGuarding(Record):
    """What the organisation asks of its own calls of one tool, whoever makes them and whatever grants say."""

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    tool = models.CharField(max_length=256)
    needs_approval = models.BooleanField(default=False)
    changed_by_label = models.CharField(max_length=254, blank=True, editable=False)

    class Meta:
        ordering = ["server_id", "tool"]
        constraints = [models.UniqueConstraint(fields=["server", "tool"], name="guarding_of_a_tool")]


class ApprovalState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    USED = "used", "Used"
    EXPIRED = "expired", "Expired"


OPEN = (ApprovalState.WAITING, ApprovalState.APPROVED)


class CallApproval(Record):
    """One call that a person is asked to approve.

    `binding` is the digest of everything that the approval is good for: organisation, key and whom it acts for, session, server,
    tool, its definition, and every digit of the arguments. The arguments are sealed, and erased some time after the decision.
    The database holds that nobody in `barred` decides, and that an approval is used once (`access.approvals.sql`).
    """

    binding = models.CharField(max_length=64, editable=False)
    state = models.CharField(max_length=8, choices=ApprovalState.choices, default=ApprovalState.WAITING, editable=False)
    server_id = models.UUIDField(editable=False)
    server_name = models.CharField(max_length=200, editable=False)
    server_slug = models.CharField(max_length=128, editable=False)
    tool = models.CharField(max_length=256, editable=False)
    side_effect = models.CharField(max_length=11, blank=True, editable=False)
    trust_required = models.CharField(max_length=6, blank=True, editable=False)
    tool_digest = models.CharField(max_length=128, blank=True, editable=False)
    api_key_id = models.UUIDField(editable=False)
    key_label = models.CharField(max_length=254, editable=False)
    agent = models.CharField(max_length=200, blank=True, editable=False)
    session = models.CharField(max_length=254, blank=True, editable=False)
    flow = ArrayField(
        models.CharField(max_length=20),
        default=list,
        editable=False,
        help_text="Labels that would meet in the session, where the flow rule asks.",
    )
    barred = ArrayField(models.UUIDField(), default=list, editable=False, help_text="Who may not decide.")
    arguments = SealedField(default=b"")
    arguments_digest = models.CharField(max_length=64, blank=True, editable=False)
    asked_call_id = models.UUIDField(editable=False)
    used_call_id = models.UUIDField(null=True, editable=False)
    round = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Digest of the round that may follow."
    )
    used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(editable=False)
    decided_by_id = models.UUIDField(null=True, editable=False)
    decided_by_label = models.CharField(max_length=254, blank=True, editable=False)
    decided_at = models.DateTimeField(null=True, editable=False)
    comment = models.CharField(max_length=1000, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["state", "expires_at"], name="approval_by_state"),
            models.Index(fields=["binding", "-created_at"], name="approval_by_binding"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["binding"],
                condition=models.Q(state="waiting") | models.Q(state="approved"),
                name="approval_open_once",
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=["approved", "rejected", "used"]) | models.Q(decided_by_id__isnull=False),
                name="approval_has_decider",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="used") | models.Q(used_call_id__isnull=False), name="approval_used_by_a_call"
            ),
        ]

    @property
    def is_over(self) -> bool:
        """Whether its time has come, also before the job has noted so."""
        return self.expires_at <= clock.now()

    @property
    def stands(self) -> str:
        """Its state at this moment."""
        return ApprovalState.EXPIRED.value if self.state in OPEN and self.is_over else str(self.state)

    def facts(self) -> dict[str, Any]:
        """What an organisation's own systems are told; never the arguments."""
        return {
            "approval_id": str(self.pk),
            "server": self.server_slug,
            "tool": self.tool,
            "key": self.key_label,
            "agent": self.agent,
            "state": self.stands,
            "expires_at": self.expires_at.isoformat(),
        }
