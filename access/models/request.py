"""Asking for access, and who decided what about it. The rules stand in `access.requests`, and a second time in triggers."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from access.models.grant import TRUST_CHOICES
from access.types import SideEffect
from core import clock
from core.ids import uuid7
from core.models import Record


class RequestState(models.TextChoices):
    OPEN = "open", "Waits for approval"
    ASKED = "asked", "Waits for an answer"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"
    EXPIRED = "expired", "Expired"


UNDECIDED = (RequestState.OPEN, RequestState.ASKED)


class AccessRequest(Record):
    """What somebody asks for, for whom and why, and how far it has come. Lives in the organisation's schema.

    `digest` stands for all that is asked: who decides names it, and an edit, which changes it, voids every earlier decision.
    `beneficiaries` are the people whom the right would be for; neither they nor the requester can approve. A trigger holds that,
    and that nothing becomes approved without the approvals that `route` asks for.
    """

    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    server_name = models.CharField(max_length=200)
    subject_user = models.CharField(max_length=100, blank=True)
    subject_agent = models.CharField(max_length=100, blank=True)
    subject_team = models.CharField(max_length=100, blank=True)
    subject_key = models.CharField(max_length=100, blank=True)
    subject_label = models.CharField(max_length=254)
    requester_id = models.UUIDField()
    requester_label = models.CharField(max_length=254)
    beneficiaries = ArrayField(models.UUIDField(), default=list, blank=True)
    tools = models.JSONField(
        default=list,
        blank=True,
        help_text="Names with what each needs, as approved when it was asked; none: every tool.",
    )
    max_trust = models.CharField(max_length=6, choices=TRUST_CHOICES)
    side_effects = ArrayField(
        models.CharField(max_length=11, choices=[(e.value, e.value.capitalize()) for e in SideEffect])
    )
    reason = models.TextField(max_length=1000)
    duration_h = models.PositiveIntegerField(help_text="Hours from the approval on.")
    wants_session = models.BooleanField(default=False)
    route = models.JSONField(help_text="The steps of the approval in their order; each has a label and who may decide.")
    stage = models.PositiveSmallIntegerField(default=0, help_text="The step that is waited for, from 0 on.")
    delegates = ArrayField(models.UUIDField(), default=list, blank=True, help_text="To whom this step was handed on.")
    deciders = ArrayField(
        models.UUIDField(),
        default=list,
        blank=True,
        help_text="Who could decide when it was last looked at; for lists.",
    )
    state = models.CharField(max_length=9, choices=RequestState.choices, default=RequestState.OPEN)
    digest = models.CharField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    due_at = models.DateTimeField(help_text="When it should be decided.")
    escalate_at = models.DateTimeField(help_text="When others are told that nobody has decided.")
    escalated_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(help_text="When it ends without a decision.")
    decided_at = models.DateTimeField(null=True, blank=True)
    grant_id = models.UUIDField(null=True, blank=True, unique=True)
    session_id = models.UUIDField(null=True, blank=True)
    renews_id = models.UUIDField(null=True, blank=True, help_text="The grant that it would follow.")
    origin = models.CharField(max_length=10, default="page")

    class Meta:
        verbose_name = "access request"
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["requester_id", "-created_at"], name="request_by_requester"),
            models.Index(
                fields=["due_at"], condition=models.Q(state="open") | models.Q(state="asked"), name="request_undecided"
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=RequestState.values), name="request_state_known"),
            models.CheckConstraint(condition=models.Q(duration_h__range=(1, 24 * 366)), name="request_is_bounded"),
            models.CheckConstraint(condition=models.Q(side_effects__len__gt=0), name="request_has_side_effect"),
            models.CheckConstraint(
                condition=models.Q(max_trust__in=["low", "medium", "high"]), name="request_trust_known"
            ),
            models.CheckConstraint(
                condition=~models.Q(subject_user="", subject_agent="", subject_team="", subject_key=""),
                name="request_has_subject",
            ),
            models.CheckConstraint(
                condition=models.Q(grant_id=None) | models.Q(state="approved"), name="request_grant_only_when_approved"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject_label}: {self.server_name}"

    @property
    def undecided(self) -> bool:
        return self.state in UNDECIDED

    @property
    def overdue(self) -> bool:
        return self.undecided and self.due_at <= clock.now()

    @property
    def tool_names(self) -> list[str]:
        return [tool["name"] for tool in self.tools]


class EventKind(models.TextChoices):
    OPENED = "opened", "Asked for access"
    EDITED = "edited", "Changed the request"
    ASKED = "asked", "Asked back"
    ANSWERED = "answered", "Answered"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrew the request"
    EXPIRED = "expired", "Ended without a decision"
    DELEGATED = "delegated", "Handed on"
    ESCALATED = "escalated", "Escalated"
    GIVEN = "given", "Access given"


DECIDING = (EventKind.APPROVED, EventKind.REJECTED)


class RequestEvent(models.Model):
    """One step in the life of a request; approvals are such steps. Append-only.

    An approval names the digest of what was approved and the stage that it is for: one for each, by different people, and by
    nobody whom the request concerns (constraints and a trigger).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    request = models.ForeignKey(AccessRequest, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=9, choices=EventKind.choices)
    actor_id = models.UUIDField(null=True)
    actor_label = models.CharField(max_length=254)
    on_behalf_of = models.CharField(max_length=254, blank=True)
    stage = models.PositiveSmallIntegerField(default=0)
    digest = models.CharField(max_length=64)
    comment = models.TextField(max_length=1000, blank=True)
    terms = models.JSONField(null=True, help_text="What an approval lets pass, when it is less than what was asked.")
    via = models.CharField(max_length=10, default="page")

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["request", "digest", "stage"],
                condition=models.Q(kind="approved"),
                name="request_one_approval_each_stage",
            ),
            models.UniqueConstraint(
                fields=["request", "digest", "actor_id"],
                condition=models.Q(kind="approved"),
                name="request_stages_by_different_people",
            ),
            models.CheckConstraint(
                condition=~models.Q(kind__in=["approved", "rejected"]) | models.Q(actor_id__isnull=False),
                name="request_decided_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.actor_label}"


class ApprovalLink(Record):
    """A link in a mail, by which one person decides about one state of one request, once. Only a digest of it is kept."""

    request = models.ForeignKey(AccessRequest, on_delete=models.CASCADE, related_name="links")
    approver_id = models.UUIDField()
    digest = models.CharField(max_length=64)
    token_digest = models.BinaryField(max_length=32, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)


class ApprovalRule(Record):
    """Who decides about which requests. The first rule that fits a request, by position, is its route."""

    name = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField(default=0)
    server = models.ForeignKey("catalog.Server", on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    min_trust = models.CharField(max_length=6, choices=TRUST_CHOICES, default="low")
    side_effect = models.CharField(max_length=11, blank=True)
    stages = models.JSONField()
    target_h = models.PositiveSmallIntegerField(default=24)
    escalate_h = models.PositiveSmallIntegerField(default=24)

    class Meta:
        ordering = ["position", "created_at"]

    def __str__(self) -> str:
        return self.name


class Absence(Record):
    """A person who is away until a moment, and who decides instead."""

    user_id = models.UUIDField(unique=True)
    user_label = models.CharField(max_length=254)
    deputy_id = models.UUIDField()
    deputy_label = models.CharField(max_length=254)
    until = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(user_id=models.F("deputy_id")), name="absence_deputy_is_another")
        ]


class GrantReminder(Record):
    """That somebody was told of the coming end of a grant, so that nobody is told twice."""

    grant = models.ForeignKey("access.Grant", on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=7)  # week | day | expired

    class Meta:
        constraints = [models.UniqueConstraint(fields=["grant", "kind"], name="grant_reminded_once")]


class Campaign(Record):
    """A review of grants: each is confirmed or let go of by a date. What nobody confirmed can end by itself."""

    name = models.CharField(max_length=100)
    due_at = models.DateTimeField()
    revoke_unanswered = models.BooleanField(default=False)
    opened_by_id = models.UUIDField()
    opened_by_label = models.CharField(max_length=254)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class ReviewOutcome(models.TextChoices):
    PENDING = "pending", "Waits"
    KEPT = "kept", "Confirmed"
    REVOKED = "revoked", "Let go"
    LAPSED = "lapsed", "Nobody answered"


class CampaignItem(Record):
    """One grant of a campaign, and what was decided about it."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="items")
    grant = models.ForeignKey("access.Grant", on_delete=models.PROTECT, related_name="+")
    outcome = models.CharField(max_length=7, choices=ReviewOutcome.choices, default=ReviewOutcome.PENDING)
    decided_by_id = models.UUIDField(null=True, blank=True)
    decided_by_label = models.CharField(max_length=254, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [models.UniqueConstraint(fields=["campaign", "grant"], name="campaign_each_grant_once")]


class ProviderReview(Record):
    """What another organisation tells the owner of a restricted server about a request, and what the owner says to it.

    Lives in the owner's schema and holds what the request says, no more. `id` is the id of the request.
    """

    tenant_id = models.UUIDField()
    organisation = models.CharField(max_length=200)
    server = models.ForeignKey("catalog.Server", on_delete=models.PROTECT, related_name="+")
    requester_label = models.CharField(max_length=254)
    tools = models.JSONField(default=list)
    max_trust = models.CharField(max_length=6)
    side_effects = ArrayField(models.CharField(max_length=11))
    reason = models.TextField(max_length=1000)
    duration_h = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    state = models.CharField(max_length=8, default="open")  # open | approved | rejected | closed
    decided_by_label = models.CharField(max_length=254, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    comment = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering = ["-created_at"]
