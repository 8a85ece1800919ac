"""How an organisation pays: its customer at the payment provider, its cards, and every attempt to charge one."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from core import clock
from core.models import Record
from core.money import Money

_BRANDS = {"visa": "Visa", "mastercard": "Mastercard", "amex": "American Express", "discover": "Discover", "jcb": "JCB"}


class PaymentCustomer(Record):
    """An organisation as the payment provider knows it."""

    tenant = models.OneToOneField("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    external_id = models.CharField(max_length=255, unique=True)


class PaymentMethod(Record):
    """A saved card. The number is with the provider alone; `fingerprint` is the same for one card, whoever saved it."""

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    external_id = models.CharField(max_length=255, unique=True)
    brand = models.CharField(max_length=30)
    last4 = models.CharField(max_length=4)
    exp_month = models.PositiveSmallIntegerField()
    exp_year = models.PositiveSmallIntegerField()
    fingerprint = models.CharField(max_length=64, blank=True, db_index=True)
    is_default = models.BooleanField(default=False)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "card"
        ordering = ["-is_default", "-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(is_default=True, removed_at=None), name="payment_method_one_default"
            )
        ]

    def __str__(self) -> str:
        return f"{_BRANDS.get(self.brand, self.brand)} ending in {self.last4}"

    @property
    def is_expired(self) -> bool:
        today = clock.now()
        return (self.exp_year, self.exp_month) < (today.year, today.month)


class AttemptState(models.TextChoices):
    """`asking` until the provider has said what became of it; then processing, needs_holder, or one that is final."""

    ASKING = "asking", "Asking"
    PROCESSING = "processing", "Processing"
    NEEDS_HOLDER = "needs_holder", "Needs confirmation"
    SUCCEEDED = "succeeded", "Paid"
    DECLINED = "declined", "Declined"
    CANCELLED = "cancelled", "Cancelled"


UNDER_WAY = (AttemptState.ASKING, AttemptState.PROCESSING, AttemptState.NEEDS_HOLDER)


class PaymentAttempt(Record):
    """One charge of one card, for an invoice or, without one, for credit. Its id and key are committed before it is asked for.

    `step` is the day of the schedule that it belongs to, null for one that a person asked for. An invoice has at most one
    attempt under way and one for each day; an organisation buys credit once at a time. `automatic`: credit that nobody asked
    for at that moment.
    """

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    invoice = models.ForeignKey("billing.Invoice", on_delete=models.PROTECT, null=True, related_name="attempts")
    method = models.ForeignKey(PaymentMethod, on_delete=models.PROTECT, related_name="+")
    customer = models.CharField(max_length=255)
    step = models.PositiveSmallIntegerField(null=True)
    automatic = models.BooleanField(default=False)
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    key = models.CharField(max_length=100, unique=True)
    state = models.CharField(max_length=15, choices=AttemptState, default=AttemptState.ASKING)
    external_id = models.CharField(max_length=255, null=True, unique=True)
    code = models.CharField(max_length=100, blank=True)
    message = models.CharField(max_length=500, blank=True)
    fee_minor = models.BigIntegerField(default=0)
    entry = models.CharField(max_length=255, blank=True)
    refunded_minor = models.BigIntegerField(default=0)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "payment attempt"
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["invoice"],
                condition=Q(state__in=["asking", "processing", "needs_holder"]),
                name="payment_attempt_one_under_way",
            ),
            models.UniqueConstraint(
                fields=["invoice", "step"], condition=Q(step__isnull=False), name="payment_attempt_once_a_step"
            ),
            models.UniqueConstraint(
                fields=["tenant"],
                condition=Q(invoice=None, state__in=["asking", "processing", "needs_holder"]),
                name="top_up_one_under_way",
            ),
            models.CheckConstraint(condition=Q(minor__gt=0), name="payment_attempt_positive"),
            models.CheckConstraint(
                condition=Q(invoice__isnull=False, automatic=False) | Q(invoice=None, step=None), name="payment_for_one"
            ),
            models.CheckConstraint(
                condition=Q(refunded_minor__gte=0, refunded_minor__lte=models.F("minor")),
                name="payment_not_over_refunded",
            ),
        ]
        indexes = [models.Index(fields=["state", "created_at"], name="payment_attempt_by_state")]

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)

    @property
    def refunded(self) -> Money:
        return Money(self.refunded_minor, self.currency)

    @property
    def subject(self) -> str:
        """What it pays for, in a word."""
        return "Credit" if self.invoice is None else str(self.invoice)


class RefundState(models.TextChoices):
    ASKING = "asking", "Asking"
    PENDING = "pending", "Pending"
    SUCCEEDED = "succeeded", "Refunded"
    FAILED = "failed", "Failed"


class Refund(Record):
    """Money that goes back to the card of a payment, out of the organisation's credit.

    It goes with a credit note, or is so small (`alone_minor`, all others of the payment counted in) that one operator decides.
    """

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="refunds")
    note = models.ForeignKey("billing.CreditNote", on_delete=models.PROTECT, null=True, related_name="refunds")
    alone_minor = models.BigIntegerField(default=0)
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    # What the refund is for, such as `cn:<credit note>`: asked for again, it is the same refund.
    key = models.CharField(max_length=200, unique=True)
    reason = models.CharField(max_length=300)
    state = models.CharField(max_length=10, choices=RefundState, default=RefundState.ASKING)
    external_id = models.CharField(max_length=255, null=True, unique=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.CheckConstraint(condition=Q(minor__gt=0), name="refund_positive")]

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)


class Dispute(Record):
    """A card's holder objects to a payment; the provider holds the amount until the bank has decided.

    Evidence is taken until `due_at`.
    """

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="disputes")
    external_id = models.CharField(max_length=255, unique=True)
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=100)
    state = models.CharField(
        max_length=10, choices=[("open", "Open"), ("won", "Won"), ("lost", "Lost")], default="open"
    )
    fee_minor = models.BigIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)
