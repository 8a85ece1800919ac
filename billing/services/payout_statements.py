"""The self-billed statement of a payout: what the provider's available account did since the statement before.

It is read from the postings themselves, so it agrees with the ledger or `agrees` says that it does not.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Sum

from billing.core import postings
from billing.core.postings import Kind
from billing.models import Invoice, LedgerPosting, PayoutItem, ProviderAccount, Statement
from core import jobs

_WORDS = {
    Kind.RELEASE: "Share of an invoice",
    Kind.CREDIT_NOTE: "Taken back by a credit note",
    Kind.DISPUTE_LOST: "Taken back by a card dispute",
    Kind.PAYOUT_FAILED: "Payout that did not arrive",
    Kind.PAYOUT_RESERVED: "Payout",
}


def make(item: PayoutItem, account: ProviderAccount) -> Statement:
    """State a payout whose amount was just reserved. In the transaction of the reservation, so that statements have no gaps."""
    before = Statement.objects.filter(provider_id=item.provider_id).order_by("-through_posting").first()
    after = before.through_posting if before else 0
    reserved = _postings(item).get(transaction__idempotency_key=f"po:{item.pk}:reserve")
    sums = _sums(item, after, reserved.pk)
    jobs.enqueue("billing.render_statement", payout_id=str(item.pk))
    return Statement.objects.create(
        item=item,
        provider_id=item.provider_id,
        number=f"PS-{item.provider_id.hex[-8:].upper()}-{_count(item) + 1:04d}",
        currency=item.currency,
        after_posting=after,
        through_posting=reserved.pk,
        payee={
            "name": account.legal_name or account.provider.name,
            "address": account.address,
            "country": account.country,
            "tax_id": account.tax_id,
        },
        lines=_lines(item, after, reserved.pk),
        **sums,
    )


def agrees(statement: Statement) -> bool:
    """Whether the ledger says, read again, what the statement says."""
    sums = _sums(statement.item, statement.after_posting, statement.through_posting)
    return all(getattr(statement, name) == minor for name, minor in sums.items())


def _count(item: PayoutItem) -> int:
    return Statement.objects.filter(provider_id=item.provider_id).count()


def _postings(item: PayoutItem) -> Any:
    return LedgerPosting.objects.filter(account__code=postings.of(postings.AVAILABLE, item.provider_id))


def _sums(item: PayoutItem, after: int, through: int) -> dict[str, int]:
    """The columns of a statement, in minor units as the provider sees them: what it has is positive."""
    rows = _postings(item)
    opening = -(rows.filter(pk__lte=after).aggregate(sum=Sum("amount"))["sum"] or 0)
    moved = dict.fromkeys(Kind, 0)
    window = rows.filter(pk__gt=after, pk__lte=through)
    for kind, total in window.values_list("transaction__kind").annotate(total=Sum("amount")).order_by():
        moved[Kind(kind)] = -total
    returned, paid = moved[Kind.PAYOUT_FAILED], -moved[Kind.PAYOUT_RESERVED]
    taken_back = -(moved[Kind.CREDIT_NOTE] + moved[Kind.DISPUTE_LOST] + moved[Kind.WRITE_OFF])
    closing = opening + sum(moved.values())
    return {
        "opening_minor": opening,
        "earned_minor": closing - opening + taken_back - returned + paid,
        "taken_back_minor": taken_back,
        "returned_minor": returned,
        "paid_minor": paid,
        "closing_minor": closing,
    }


def _lines(item: PayoutItem, after: int, through: int) -> list[dict[str, Any]]:
    """Each posting in words. An invoice is named by month and by letters that do not tell whose it is."""
    rows = _postings(item).filter(pk__gt=after, pk__lte=through).select_related("transaction").order_by("pk")
    found = list(rows)
    invoices = Invoice.objects.in_bulk({row.transaction.invoice_id for row in found if row.transaction.invoice_id})
    lines = []
    for row in found:
        invoice = invoices.get(row.transaction.invoice_id)
        lines.append(
            {
                "on": f"{row.transaction.booked_at:%Y-%m-%d}",
                "what": _WORDS.get(Kind(row.transaction.kind), row.transaction.kind.replace("_", " ")),
                "month": f"{invoice.month:%Y-%m}" if invoice else "",
                "reference": row.transaction.invoice_id.hex[-8:].upper() if row.transaction.invoice_id else "",
                "minor": -row.amount,
            }
        )
    return lines
