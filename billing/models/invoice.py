"""Invoices: what an organisation owes for a month, line by line, and who is billed."""

from __future__ import annotations

from decimal import Decimal

from django.db import models

from core import clock
from core.models import Record
from core.money import Money


class InvoiceState(models.TextChoices):
    """`draft` may be made again; `open` is a document and never changes; the others say how it ended."""

    DRAFT = "draft", "Draft"
    OPEN = "open", "Open"
    PAID = "paid", "Paid"
    VOID = "void", "Void"
    UNCOLLECTIBLE = "uncollectible", "Uncollectible"


class InvoiceKind(models.TextChoices):
    MONTH = "month", "Month"
    UPGRADE = "upgrade", "Change of plan"


class LineKind(models.TextChoices):
    USAGE = "usage", "Usage"
    LATE = "late", "Late usage"
    SUBSCRIPTION = "subscription", "Subscription"
    PRORATION = "proration", "Change of plan"
    CREDIT = "credit", "Included credit"
    ADJUSTMENT = "adjustment", "Adjustment"
    TAX = "tax", "Tax"


class BillingProfile(Record):
    """Who an organisation's invoices are addressed to. Copied to an invoice when it is opened."""

    tenant = models.OneToOneField("tenants.Tenant", on_delete=models.CASCADE, related_name="+")
    legal_name = models.CharField(max_length=200, blank=True)
    street = models.CharField(max_length=200, blank=True)
    street_more = models.CharField(max_length=200, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    city = models.CharField(max_length=100, blank=True)
    region = models.CharField(max_length=100, blank=True)
    country = models.CharField(max_length=2, blank=True)
    tax_id = models.CharField(max_length=40, blank=True)
    emails = models.JSONField(default=list, blank=True)
    reference = models.CharField(max_length=100, blank=True)

    class Meta:
        verbose_name = "billing profile"

    def __str__(self) -> str:
        return self.legal_name or str(self.tenant_id)

    @property
    def is_complete(self) -> bool:
        """Whether an invoice to it names a buyer as tax law asks."""
        return all((self.legal_name, self.street, self.city, self.country))


class InvoiceCounter(models.Model):
    """The last number given in a series of a legal entity and year. Locked by who takes the next one: numbers have no gaps."""

    entity = models.CharField(max_length=40)
    series = models.CharField(max_length=10)
    year = models.PositiveSmallIntegerField()
    last = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entity", "series", "year"], name="invoice_counter_one")]


class Invoice(Record):
    """What an organisation owes for one month, or for a larger plan within it (`kind`).

    Triggers refuse any change of an open one but of how it is settled.

    Sums are minor units of `currency`: `net_minor` of all lines but tax, `total_minor` with it, `paid_minor` by payments and
    credit of the customer, `credited_minor` by credit notes against what was still owed. `month` is the first day of the
    month whose usage it bills, and `period_id` that month's period in the organisation's schema.
    """

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=InvoiceKind, default=InvoiceKind.MONTH)
    month = models.DateField()
    period_id = models.BigIntegerField(null=True)
    state = models.CharField(max_length=15, choices=InvoiceState, default=InvoiceState.DRAFT)
    number = models.CharField(max_length=40, null=True, unique=True)
    entity = models.CharField(max_length=40, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    net_minor = models.BigIntegerField(default=0)
    tax_minor = models.BigIntegerField(default=0)
    total_minor = models.BigIntegerField(default=0)
    paid_minor = models.BigIntegerField(default=0)
    credited_minor = models.BigIntegerField(default=0)
    seller = models.JSONField(default=dict)
    buyer = models.JSONField(default=dict)
    # What keeps a draft from being opened unseen: a list of {code, text}.
    warnings = models.JSONField(default=list)
    opened_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)
    written_off_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)
    # From when on nobody waits for its payment any more. Frozen when it is opened, so that it needs no second operator then.
    give_up_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-month", "-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "month"],
                condition=models.Q(kind="month") & ~models.Q(state="void"),
                name="invoice_one_a_month",
            ),
            models.CheckConstraint(
                condition=models.Q(state="draft") | models.Q(number__isnull=False) | models.Q(state="void"),
                name="invoice_open_has_number",
            ),
            models.CheckConstraint(
                condition=models.Q(total_minor=models.F("net_minor") + models.F("tax_minor")),
                name="invoice_total_is_sum",
            ),
            models.CheckConstraint(
                condition=models.Q(paid_minor__gte=0, credited_minor__gte=0), name="invoice_settled_not_negative"
            ),
        ]
        indexes = [models.Index(fields=["state", "due_at"], name="invoice_by_state")]

    def __str__(self) -> str:
        return self.number or f"Draft for {self.month:%Y-%m}"

    @property
    def owed_minor(self) -> int:
        """What neither payments nor credit notes have settled; of an invoice that was written off, too."""
        return max(self.total_minor - self.paid_minor - self.credited_minor, 0)

    @property
    def due_minor(self) -> int:
        """What is still to be paid."""
        return self.owed_minor if self.state == InvoiceState.OPEN else 0

    @property
    def is_past_due(self) -> bool:
        return self.state == InvoiceState.OPEN and self.due_at is not None and self.due_at < clock.now()

    @property
    def net(self) -> Money:
        return Money(self.net_minor, self.currency)

    @property
    def tax(self) -> Money:
        return Money(self.tax_minor, self.currency)

    @property
    def total(self) -> Money:
        return Money(self.total_minor, self.currency)

    @property
    def paid(self) -> Money:
        return Money(self.paid_minor, self.currency)

    @property
    def credited(self) -> Money:
        return Money(self.credited_minor, self.currency)

    @property
    def due(self) -> Money:
        return Money(self.due_minor, self.currency)


class InvoiceLine(Record):
    """One line: `minor` units, rounded once from `exact` major units. `key` names what it bills and is billed once.

    Lines of usage name the price version by which calls were rated, and carry the provider's part as it was agreed then.
    `starts_at` to `ends_at` is the span of service, half open. Tax lines carry base and rate in parts per million.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=15, choices=LineKind)
    key = models.CharField(max_length=200)
    label = models.TextField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    server_id = models.UUIDField(null=True)
    server_name = models.TextField(blank=True)
    tool = models.TextField(blank=True)
    provider = models.ForeignKey("catalog.Provider", on_delete=models.PROTECT, null=True, related_name="+")
    provider_name = models.CharField(max_length=200, blank=True)
    price_version_id = models.UUIDField(null=True)
    plan_version_id = models.UUIDField(null=True)
    agreement_id = models.UUIDField(null=True)
    origin_month = models.DateField(null=True)
    quantity = models.DecimalField(max_digits=20, decimal_places=6, default=Decimal(1))
    free_quantity = models.DecimalField(max_digits=20, decimal_places=6, default=Decimal(0))
    exact = models.DecimalField(max_digits=38, decimal_places=16)
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    share_bps = models.PositiveIntegerField(null=True)
    provider_minor = models.BigIntegerField(default=0)
    platform_minor = models.BigIntegerField(default=0)
    tax_category = models.CharField(max_length=3, blank=True)
    tax_jurisdiction = models.CharField(max_length=10, blank=True)
    tax_ppm = models.PositiveIntegerField(null=True)
    tax_base_minor = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "key"], name="invoice_line_key_once"),
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position_once"),
            models.CheckConstraint(
                condition=~models.Q(kind__in=["usage", "late"])
                | models.Q(minor=models.F("provider_minor") + models.F("platform_minor")),
                name="invoice_line_shares_add_up",
            ),
        ]
        indexes = [models.Index(fields=["provider", "invoice"], name="invoice_line_by_provider")]

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)

    @property
    def exact_text(self) -> str:
        """The exact amount without zeros that say nothing."""
        return f"{self.exact.normalize():f}"

    @property
    def is_of_calls(self) -> bool:
        return self.kind in (LineKind.USAGE, LineKind.LATE)


class SettlementSource(models.TextChoices):
    PAYMENT = "payment", "Payment"
    CREDIT = "credit", "Customer credit"


class Settlement(Record):
    """A payment or credit that paid a part of an invoice. `key` says which, so that it counts once however often it is told."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="settlements")
    key = models.CharField(max_length=200, unique=True)
    source = models.CharField(max_length=10, choices=SettlementSource)
    minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)

    class Meta:
        ordering = ["created_at"]
        constraints = [models.CheckConstraint(condition=models.Q(minor__gt=0), name="settlement_positive")]

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)
