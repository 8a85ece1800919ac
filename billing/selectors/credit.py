"""What credit an organisation has with us, what of it is spoken for, and what moved it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.conf import settings
from django.db.models import F, QuerySet, Sum

from billing.core.months import bounds, from_number
from billing.core.postings import CUSTOMER_CREDIT, Kind, of
from billing.models import (
    AttemptState,
    Dispute,
    Invoice,
    LedgerPosting,
    PaymentAttempt,
    Prepayment,
    Refund,
    RefundState,
)
from billing.selectors import ledger
from billing.services import plans, rating
from calls.models import Period, PeriodState
from core import clock
from core.money import Money
from tenants.context import platform_scope, tenant_scope
from tenants.models import Tenant

_WORDS = {
    Kind.TOP_UP: "Credit bought",
    Kind.CREDIT_USED: "Used for an invoice",
    Kind.PAYMENT: "Paid more than was due",
    Kind.CREDIT_NOTE: "Credit note",
    Kind.REFUND: "Sent back to the card",
    Kind.REFUND_FAILED: "The card did not take it back",
    Kind.DISPUTE_LOST: "Taken back by the card's bank",
    Kind.INVOICE_OPENED: "Invoice in your favour",
    Kind.INVOICE_VOIDED: "Invoice voided",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """`held` is the ledger's; `leaving` goes back to cards or is disputed; `unbilled` is what calls cost so far, rounded up."""

    held: Money
    leaving: Money
    unbilled: Money
    included: Money

    @property
    def covered(self) -> Money:
        """What the plan includes of that."""
        return Money(min(self.included.minor, self.unbilled.minor), self.held.currency)

    @property
    def available(self) -> Money:
        """What of the credit is left; what the plan still includes comes on top of it."""
        return self.held - self.leaving - self.unbilled + self.covered


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the history; `minor` is positive for what was added."""

    at: datetime
    what: str
    subject: str
    amount: Money
    invoice_id: UUID | None
    attempt: PaymentAttempt | None


def held(tenant_id: UUID) -> int:
    """The organisation's credit in minor units."""
    return -ledger.balance(of(CUSTOMER_CREDIT, tenant_id))


def leaving(tenant_id: UUID) -> int:
    """What of the credit is on its way back to cards and not booked yet, or held by a bank, in minor units."""
    asked = Refund.objects.filter(tenant_id=tenant_id, state=RefundState.ASKING)
    disputed = Dispute.objects.filter(tenant_id=tenant_id, state="open", attempt__invoice=None)
    return sum(rows.aggregate(total=Sum("minor"))["total"] or 0 for rows in (asked, disputed))


def standing(tenant: Tenant) -> Standing:
    """As of this moment."""
    currency = settings.BILLING_CURRENCY
    periods = not_invoiced(tenant)
    exact = unbilled(tenant, periods)
    rounded = Money.from_rate(exact, currency)
    if rounded.major < exact:
        rounded += Money(1, currency)
    with platform_scope():
        return Standing(
            Money(held(tenant.pk), currency),
            Money(leaving(tenant.pk), currency),
            rounded,
            Money(included(tenant, periods), currency),
        )


def not_invoiced(tenant: Tenant) -> list[Period]:
    """Months that have begun and have no invoice yet."""
    with tenant_scope(tenant):
        return list(
            Period.objects.filter(starts_at__lte=clock.now()).exclude(state=PeriodState.INVOICED).order_by("id")
        )


def unbilled(tenant: Tenant, periods: list[Period]) -> Decimal:
    """What the calls of some months cost, exact, in major units."""
    return sum((line.exact for period in periods for line in rating.rate(tenant, period)), Decimal(0))


def included(tenant: Tenant, periods: list[Period]) -> int:
    """Usage of some months that the plan gives, in minor units."""
    return sum(plans.included_credit(tenant, *bounds(from_number(period.pk))) for period in periods)


def prepayment(tenant_id: UUID) -> Prepayment:
    """How an organisation uses its credit; one that is not saved stands for those that never said."""
    return Prepayment.objects.filter(tenant_id=tenant_id).first() or Prepayment(tenant_id=tenant_id)


def allowance(tenant: Tenant) -> Decimal:
    """What calls may cost in all since the count began, in major units: what invoices took over, and what credit covers.

    Read in this order, an invoice that is opened meanwhile makes it smaller for a moment, never larger.
    """
    counted, currency = prepayment(tenant.pk).counted, settings.BILLING_CURRENCY
    free = held(tenant.pk) - leaving(tenant.pk) + included(tenant, not_invoiced(tenant))
    return counted + Money(max(free, 0), currency).major


def counted_and_unbilled(tenant: Tenant) -> Decimal:
    """What calls cost since the count began, in major units: read again when an invoice was opened meanwhile."""
    while True:
        with platform_scope():
            before = prepayment(tenant.pk)
        sum_ = before.counted + unbilled(tenant, not_invoiced(tenant))
        with platform_scope():
            after = prepayment(tenant.pk)
        if (before.counted, before.epoch) == (after.counted, after.epoch):
            return sum_


def history(tenant: Tenant) -> QuerySet[LedgerPosting]:
    """What moved the credit, the latest first."""
    rows = LedgerPosting.objects.filter(account__code=of(CUSTOMER_CREDIT, tenant.pk))
    return rows.select_related("transaction").order_by("-transaction__booked_at", "-pk")


def changes(postings: list[LedgerPosting]) -> list[Change]:
    """Postings in words, with what each was about."""
    charges = [row.transaction.source_id for row in postings if row.transaction.kind == Kind.TOP_UP]
    attempts = {row.external_id: row for row in PaymentAttempt.objects.filter(external_id__in=charges)}
    numbers = dict(
        Invoice.objects.filter(pk__in=[row.transaction.invoice_id for row in postings]).values_list("pk", "number")
    )
    return [
        Change(
            row.transaction.booked_at,
            _WORDS.get(Kind(row.transaction.kind), "Correction"),
            (numbers.get(row.transaction.invoice_id) if row.transaction.invoice_id else None) or "",
            Money(-row.amount, row.currency),
            row.transaction.invoice_id,
            attempts.get(row.transaction.source_id),
        )
        for row in postings
    ]


def top_ups(tenant: Tenant) -> QuerySet[PaymentAttempt]:
    """Every attempt to buy credit, the latest first."""
    return PaymentAttempt.objects.filter(tenant=tenant, invoice=None).select_related("method")


def refundable_from(tenant: Tenant) -> QuerySet[PaymentAttempt]:
    """Purchases whose cards can be paid back, the latest first; not those that a bank was asked about."""
    return top_ups(tenant).filter(state=AttemptState.SUCCEEDED, disputes=None)


def refundable(tenant: Tenant) -> int:
    """What of the unused credit can go back to the cards that bought it, in minor units."""
    left = refundable_from(tenant).aggregate(total=Sum(F("minor") - F("refunded_minor")))["total"] or 0
    return max(0, min(left, standing(tenant).available.minor))
