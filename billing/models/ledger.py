"""The ledger: accounts, transactions, postings. They only grow, and Postgres itself refuses what does not balance.

The guards are triggers of the migration: at the commit a transaction has as many postings as it says, at least two, and
they sum to zero in each currency; a posting has its account's currency; nothing is ever changed, removed or emptied.
"""

from __future__ import annotations

from django.db import models

from billing.core.postings import Kind
from core import clock
from core.ids import uuid7
from core.money import Money


class LedgerAccount(models.Model):
    """One account, made when it is first posted to. `code` is a code of `billing.core.postings`."""

    class Type(models.TextChoices):
        ASSET = "A", "Asset"
        LIABILITY = "L", "Liability"
        REVENUE = "R", "Revenue"
        EXPENSE = "E", "Expense"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    code = models.CharField(max_length=80, unique=True)
    type = models.CharField(max_length=1, choices=Type.choices)
    family = models.CharField(max_length=30, db_index=True)
    currency = models.CharField(max_length=3)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, null=True, related_name="+")
    provider = models.ForeignKey("catalog.Provider", on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        verbose_name = "account"
        ordering = ["code"]

    def __str__(self) -> str:
        return self.code

    @property
    def label(self) -> str:
        """The code, with the name of whose account it is in place of the id."""
        whose = self.tenant or self.provider
        return f"{self.family}:{whose.name}" if whose is not None else self.code


class LedgerTransaction(models.Model):
    """One booking. `effective_at` is when it counts, `booked_at` when it was written down.

    `source_type` and `source_id` name the row that it is about, `invoice_id` the invoice that it concerns, if any.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    idempotency_key = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=20, choices=[(kind.value, kind.value.replace("_", " ")) for kind in Kind])
    booked_at = models.DateTimeField(default=clock.now, editable=False)
    effective_at = models.DateTimeField(default=clock.now)
    source_type = models.CharField(max_length=40)
    source_id = models.CharField(max_length=80)
    invoice_id = models.UUIDField(null=True, db_index=True)
    reverses = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="reversed_by")
    posting_count = models.PositiveSmallIntegerField(editable=False)

    class Meta:
        verbose_name = "booking"
        ordering = ["-booked_at", "-id"]
        indexes = [
            models.Index(fields=["source_type", "source_id"], name="ledger_transaction_by_source"),
            models.Index(fields=["-booked_at", "-id"], name="ledger_transaction_newest"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(posting_count__gte=2), name="ledger_transaction_two_sides")
        ]

    def __str__(self) -> str:
        return self.idempotency_key

    @property
    def source_label(self) -> str:
        """What kind of thing it is about, in words."""
        return self.source_type.replace("_", " ").capitalize()


class LedgerPosting(models.Model):
    """One side of a booking, in minor units, debit positive. Numbers grow in the order in which rows are written."""

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="postings")
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="postings", db_index=False)
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField()

    class Meta:
        verbose_name = "posting"
        ordering = ["transaction", "id"]
        indexes = [models.Index(fields=["account", "id"], include=["amount"], name="ledger_posting_of_account")]
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount=0), name="ledger_posting_not_zero"),
            models.UniqueConstraint(fields=["transaction", "account"], name="ledger_posting_once_an_account"),
        ]

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)


class LedgerSnapshot(models.Model):
    """The sum of an account's postings up to one of them. Only makes balances cheap: it is rebuilt from the postings."""

    account = models.OneToOneField(LedgerAccount, on_delete=models.PROTECT, primary_key=True, related_name="snapshot")
    through_id = models.BigIntegerField()
    amount = models.BigIntegerField()
    made_at = models.DateTimeField(default=clock.now)


class LedgerBalance(models.Model):
    """The view of what each account holds: its snapshot and every posting since."""

    account = models.OneToOneField(
        LedgerAccount, on_delete=models.DO_NOTHING, primary_key=True, related_name="balance", db_column="account_id"
    )
    amount = models.BigIntegerField()
    posting_count = models.BigIntegerField()

    class Meta:
        managed = False
        db_table = "billing_ledgerbalance"
