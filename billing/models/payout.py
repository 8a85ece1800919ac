"""What providers earn and how they are paid: their account, releases, payouts and statements.

Amounts here repeat what the ledger holds, so that a payment order can be read on its own; triggers keep those of a payout as they
were made, and let no batch go out that two operators have not approved.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models

from billing.core import postings
from billing.models.invoice import Invoice
from core import clock
from core.models import Record
from core.money import Money


class PayoutRail(models.TextChoices):
    PAYPAL = "paypal", "PayPal"
    CONNECT = "connect", "Bank account (Stripe)"

    @property
    def cash(self) -> str:
        """The account of the ledger that its payouts are paid from."""
        return postings.PAYPAL if self is PayoutRail.PAYPAL else postings.STRIPE


class ProviderAccount(Record):
    """Where and whether a provider is paid. A destination that was changed rests until `rests_until` before it is used."""

    class State(models.TextChoices):
        ONBOARDING = "onboarding", "Onboarding"
        ACTIVE = "active", "Active"
        SUSPENDED = "suspended", "Suspended"

    provider = models.OneToOneField("catalog.Provider", on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=State.choices, default=State.ONBOARDING)
    legal_name = models.CharField(max_length=200, blank=True)
    address = models.TextField(blank=True)
    country = models.CharField(max_length=2, blank=True)
    tax_id = models.CharField("tax number", max_length=40, blank=True)
    tax_form_at = models.DateTimeField(null=True, blank=True)
    known_at = models.DateTimeField("identity checked", null=True, blank=True)
    rail = models.CharField(max_length=8, choices=PayoutRail.choices, blank=True)
    destination = models.CharField(max_length=254, blank=True)
    destination_verified_at = models.DateTimeField(null=True, blank=True)
    rests_until = models.DateTimeField(null=True, blank=True)
    active_since = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.provider.name

    @property
    def missing(self) -> list[str]:
        """What is to be done before the account can be paid, in words."""
        steps = {
            "the tax form": self.tax_form_at,
            "a payout method": self.destination,
            "the proof that the payout method is yours": self.destination_verified_at,
            "the check of your identity by an operator": self.known_at,
        }
        return [words for words, done in steps.items() if not done]

    def may_be_paid(self, at: datetime) -> bool:
        resting = self.rests_until is not None and self.rests_until > at
        return self.state == self.State.ACTIVE and not self.missing and not resting


class EarningRelease(Record):
    """A provider's share of one paid invoice on its way from pending to available: the main part, and what is reserved longer."""

    class Part(models.TextChoices):
        MAIN = "main", "Share"
        RESERVE = "reserve", "Reserve"

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="releases")
    provider = models.ForeignKey("catalog.Provider", on_delete=models.PROTECT, related_name="+")
    part = models.CharField(max_length=7, choices=Part.choices)
    # Of 10,000, of what is pending at that moment.
    bps = models.PositiveIntegerField()
    due_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True)
    minor = models.BigIntegerField(null=True)
    currency = models.CharField(max_length=3)
    held_for = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["due_at"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "provider", "part"], name="release_once_a_part"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(released_at=None), name="release_due"),
            models.Index(fields=["provider", "due_at"], name="release_of_provider"),
        ]


class PayoutBatch(Record):
    """The payouts of one month on one rail. It goes out under its own id after two operators have approved it."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waits for approval"
        REJECTED = "rejected", "Rejected"
        APPROVED = "approved", "Approved"
        SENDING = "sending", "Outcome unknown"
        SENT = "sent", "Sent"
        FINISHED = "finished", "Finished"

    rail = models.CharField(max_length=8, choices=PayoutRail.choices)
    month = models.CharField(max_length=7)
    number = models.PositiveSmallIntegerField(default=1)
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    external_id = models.CharField(max_length=100, blank=True)
    decided_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name_plural = "payout batches"
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["rail", "month", "currency", "number"], name="payout_batch_once"),
        ]

    def __str__(self) -> str:
        return f"{self.get_rail_display()} {self.month}-{self.number}"


class PayoutApproval(models.Model):
    """One operator's yes to a batch. Never changed, never taken back: a batch that is wrong is rejected."""

    id = models.BigAutoField(primary_key=True)
    batch = models.ForeignKey(PayoutBatch, on_delete=models.PROTECT, related_name="approvals")
    operator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    operator_label = models.CharField(max_length=254)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["batch", "operator"], name="payout_approval_once")]


class PayoutItem(Record):
    """One payment to one provider. Its id is the name under which the rail knows it; amount and destination never change."""

    class State(models.TextChoices):
        RESERVED = "reserved", "Reserved"
        TRAVELLING = "travelling", "On its way"
        DONE = "done", "Paid"
        FAILED = "failed", "Not paid"

    batch = models.ForeignKey(PayoutBatch, on_delete=models.PROTECT, related_name="items")
    provider = models.ForeignKey("catalog.Provider", on_delete=models.PROTECT, related_name="+")
    destination = models.CharField(max_length=254)
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RESERVED)
    rail_status = models.CharField(max_length=20, blank=True)
    external_id = models.CharField(max_length=100, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    fee_minor = models.BigIntegerField(default=0)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["batch", "provider"], name="payout_item_once"),
            models.CheckConstraint(condition=models.Q(minor__gt=0), name="payout_item_positive"),
        ]
        indexes = [models.Index(fields=["provider", "-created_at"], name="payout_item_of_provider")]

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)


class Statement(models.Model):
    """The self-billed statement of one payout: what the provider's available account did since the one before. Never changed.

    `opening + earned - taken_back + returned - paid = closing`, all minor units and all from the postings of the account between
    `after_posting` and `through_posting`; `lines` are those postings in words.
    """

    item = models.OneToOneField(PayoutItem, on_delete=models.PROTECT, primary_key=True, related_name="statement")
    provider = models.ForeignKey("catalog.Provider", on_delete=models.PROTECT, related_name="+")
    number = models.CharField(max_length=40, unique=True)
    made_at = models.DateTimeField(default=clock.now)
    currency = models.CharField(max_length=3)
    after_posting = models.BigIntegerField()
    through_posting = models.BigIntegerField()
    opening_minor = models.BigIntegerField()
    earned_minor = models.BigIntegerField()
    taken_back_minor = models.BigIntegerField()
    returned_minor = models.BigIntegerField()
    paid_minor = models.BigIntegerField()
    closing_minor = models.BigIntegerField()
    payee = models.JSONField(default=dict)
    lines = models.JSONField(default=list)

    class Meta:
        ordering = ["-made_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    closing_minor=models.F("opening_minor")
                    + models.F("earned_minor")
                    - models.F("taken_back_minor")
                    + models.F("returned_minor")
                    - models.F("paid_minor")
                ),
                name="statement_adds_up",
            ),
        ]
