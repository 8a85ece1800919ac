"""What one operator proposes and another one decides: to take back what an organisation was billed."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.invoice import Invoice
from core.models import Record
from core.money import Money


class ProposalAct(models.TextChoices):
    VOID = "void", "Void the invoice"
    WRITE_OFF = "write_off", "Write off the invoice"
    CREDIT = "credit", "Issue a credit note"


class Proposal(Record):
    """An act on an invoice that waits for a second operator. What is proposed never changes, and it is decided once.

    `minor` is what the act moves: what is owed, or the net of a credit note, whose `terms` are its lines with their amounts and
    where it goes to. Without an approved one, triggers let no invoice be voided, none be written off before its time, and no
    larger credit note be issued.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waits for another operator"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        WITHDRAWN = "withdrawn", "Withdrawn"

    act = models.CharField(max_length=10, choices=ProposalAct)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="proposals")
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    terms: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    reason = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    proposed_label = models.CharField(max_length=254)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    decided_label = models.CharField(max_length=254, blank=True)
    decided_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["invoice"], condition=Q(state="waiting"), name="proposal_one_waits"),
            models.CheckConstraint(
                condition=~Q(state="approved") | (Q(decided_by__isnull=False) & ~Q(decided_by=F("proposed_by"))),
                name="proposal_approved_by_another",
            ),
        ]
        indexes = [models.Index(fields=["state", "-created_at"], name="proposal_by_state")]

    def __str__(self) -> str:
        return f"{self.get_act_display()} {self.invoice}"

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)
