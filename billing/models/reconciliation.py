"""What comparing our books with payment providers has found: each comparison, and each difference until it is settled."""

from __future__ import annotations

from datetime import timedelta

from django.db import models

from billing.core.reconciling import BALANCE_PREFIX
from core import clock
from core.models import Record
from core.money import Money

# Differences pass by themselves when news is late; one that has not after this time is somebody's work.
RED_AFTER = timedelta(days=2)


class ReconciliationProvider(models.TextChoices):
    STRIPE = "stripe", "Stripe"
    PAYPAL = "paypal", "PayPal"


class ReconciliationRun(Record):
    """One comparison with one provider, from `since` on. `error` is the code of what kept it from being made."""

    provider = models.CharField(max_length=10, choices=ReconciliationProvider.choices)
    since = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    compared = models.PositiveIntegerField(default=0)
    differing = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["provider", "-created_at"], name="reconciliation_run_newest")]

    def __str__(self) -> str:
        return f"{self.get_provider_display()} {self.created_at:%Y-%m-%d %H:%M}"


class ReconciliationItem(Record):
    """One difference, by the key of the booking that it is about; a balance is `balance:<currency>`.

    It is settled by a comparison that does not find it any more, or closed by an operator who says why.
    """

    class Fault(models.TextChoices):
        NOT_BOOKED = "not_booked", "Not in our books"
        NOT_FOUND = "not_found", "Not at the provider"
        AMOUNT = "amount", "Another amount"
        BALANCE = "balance", "Another balance"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        SETTLED = "settled", "Settled by itself"
        CLOSED = "closed", "Closed"

    run = models.ForeignKey(ReconciliationRun, on_delete=models.PROTECT, related_name="items")
    provider = models.CharField(max_length=10, choices=ReconciliationProvider.choices)
    reference = models.CharField(max_length=255)
    fault = models.CharField(max_length=10, choices=Fault.choices)
    ours_minor = models.BigIntegerField(null=True)
    theirs_minor = models.BigIntegerField(null=True)
    currency = models.CharField(max_length=3)
    moved_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=7, choices=State.choices, default=State.OPEN)
    found_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=254, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    note = models.TextField(max_length=2000, blank=True)

    class Meta:
        ordering = ["found_at", "reference"]
        constraints = [models.UniqueConstraint(fields=["provider", "reference"], name="reconciliation_item_once")]
        indexes = [models.Index(fields=["state", "found_at"], name="reconciliation_item_by_age")]

    def __str__(self) -> str:
        return self.reference

    @property
    def difference_minor(self) -> int:
        """What the provider has more than our books."""
        return (self.theirs_minor or 0) - (self.ours_minor or 0)

    @property
    def difference(self) -> Money:
        return Money(self.difference_minor, self.currency)

    @property
    def ours(self) -> Money | None:
        return None if self.ours_minor is None else Money(self.ours_minor, self.currency)

    @property
    def theirs(self) -> Money | None:
        return None if self.theirs_minor is None else Money(self.theirs_minor, self.currency)

    @property
    def is_balance(self) -> bool:
        return self.reference.startswith(BALANCE_PREFIX)

    @property
    def is_red(self) -> bool:
        return self.state == self.State.OPEN and self.found_at <= clock.now() - RED_AFTER

    @property
    def searched(self) -> str:
        """What finds its bookings in the ledger: of a payout at PayPal the item, of all others the key."""
        return self.reference.removeprefix("po:") if self.provider == ReconciliationProvider.PAYPAL else self.reference
