"""Credit notes, and the documents that customers are sent."""

from __future__ import annotations

from django.db import models

from billing.models.invoice import Invoice, InvoiceLine
from billing.models.proposal import Proposal
from core import clock
from core.models import Record
from core.money import Money


class CreditTarget(models.TextChoices):
    BALANCE = "balance", "Customer credit"
    CARD = "card", "Card"


class CreditNote(Record):
    """Takes back a part of an open or paid invoice. `owed_minor` of it lowers what is owed, the rest goes to `target`.

    It names the `proposal` that two operators agreed on, or the limit (`alone_minor`) up to which it needed none, all notes of
    the invoice without a proposal together; triggers hold both. Sums are minor units, positive. Never changed: what was
    credited by mistake is billed again by an adjustment.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=200, unique=True)
    number = models.CharField(max_length=40, unique=True)
    reason = models.CharField(max_length=300)
    target = models.CharField(max_length=10, choices=CreditTarget)
    currency = models.CharField(max_length=3)
    net_minor = models.BigIntegerField()
    tax_minor = models.BigIntegerField()
    total_minor = models.BigIntegerField()
    owed_minor = models.BigIntegerField()
    proposal = models.OneToOneField(Proposal, on_delete=models.PROTECT, null=True, related_name="note")
    alone_minor = models.BigIntegerField(default=0)
    issued_by = models.CharField(max_length=200)
    issued_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["-issued_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(total_minor=models.F("net_minor") + models.F("tax_minor")),
                name="credit_note_total_is_sum",
            ),
            models.CheckConstraint(
                condition=models.Q(total_minor__gt=0, owed_minor__gte=0, owed_minor__lte=models.F("total_minor")),
                name="credit_note_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def total(self) -> Money:
        return Money(self.total_minor, self.currency)

    @property
    def returned_minor(self) -> int:
        """What goes back to the customer, because it had been paid."""
        return self.total_minor - self.owed_minor


class CreditNoteLine(Record):
    """What a credit note takes back of one line, with the parts of provider, platform and tax in it."""

    note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, related_name="lines")
    line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="credits")
    minor = models.BigIntegerField()
    provider_minor = models.BigIntegerField()
    platform_minor = models.BigIntegerField()
    tax_minor = models.BigIntegerField()

    class Meta:
        ordering = ["line__position"]
        constraints = [
            models.UniqueConstraint(fields=["note", "line"], name="credit_note_line_once"),
        ]


class Document(Record):
    """The very bytes that somebody was sent, rendered once: exactly one of `invoice`, `note` and `statement` says of what.

    `tenant` is who may have it: the customer, or of a statement the provider's organisation.
    """

    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")
    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, null=True, related_name="document")
    note = models.OneToOneField(CreditNote, on_delete=models.PROTECT, null=True, related_name="document")
    statement = models.OneToOneField("billing.Statement", on_delete=models.PROTECT, null=True, related_name="document")
    media_type = models.CharField(max_length=60)
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(invoice__isnull=False, note__isnull=True, statement__isnull=True)
                | models.Q(invoice__isnull=True, note__isnull=False, statement__isnull=True)
                | models.Q(invoice__isnull=True, note__isnull=True, statement__isnull=False),
                name="document_of_one",
            ),
        ]
