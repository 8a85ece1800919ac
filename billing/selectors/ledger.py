"""Reading the ledger. A balance is always a sum of postings; accounts that were never posted to hold nothing."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet, Sum

from billing.core.postings import Kind
from billing.models import LedgerAccount, LedgerBalance, LedgerPosting, LedgerTransaction


def balance(code: str) -> int:
    """What an account holds in minor units, debit positive."""
    return LedgerBalance.objects.filter(account__code=code).values_list("amount", flat=True).first() or 0


def balances(codes: Iterable[str]) -> dict[str, int]:
    """As `balance`, for several at once."""
    wanted = list(codes)
    rows = LedgerBalance.objects.filter(account__code__in=wanted).values_list("account__code", "amount")
    return dict.fromkeys(wanted, 0) | dict(rows)


def of_invoice(invoice_id: UUID, code: str, kinds: Iterable[Kind] = ()) -> int:
    """What the bookings of one invoice, all or those of some kinds, have left in an account, debit positive."""
    rows = LedgerPosting.objects.filter(transaction__invoice_id=invoice_id, account__code=code)
    if kinds:
        rows = rows.filter(transaction__kind__in=list(kinds))
    return rows.aggregate(total=Sum("amount"))["total"] or 0


def families_of_invoice(invoice_id: UUID, families: Iterable[str]) -> dict[str, int]:
    """What the bookings of one invoice have left in the accounts of some families, by code; empty ones are left out."""
    rows = LedgerPosting.objects.filter(transaction__invoice_id=invoice_id, account__family__in=list(families))
    sums = rows.values_list("account__code").annotate(total=Sum("amount")).order_by("account__code")
    return {code: total for code, total in sums if total}


def accounts(*, family: str = "", q: str = "") -> QuerySet[LedgerAccount]:
    """The accounts with their balance, by code."""
    rows = LedgerAccount.objects.select_related("balance", "tenant", "provider").order_by("code")
    if family:
        rows = rows.filter(family=family)
    if q:
        rows = rows.filter(Q(code__icontains=q) | Q(tenant__name__icontains=q) | Q(provider__name__icontains=q))
    return rows


def account(code: str) -> LedgerAccount | None:
    return LedgerAccount.objects.select_related("balance", "tenant", "provider").filter(code=code).first()


def bookings(*, account: str = "", kind: str = "", q: str = "") -> QuerySet[LedgerTransaction]:
    """The bookings, newest first: of an account, of a kind, of a source, key or invoice that is named in full."""
    rows = LedgerTransaction.objects.prefetch_related(_sides())
    if account:
        rows = rows.filter(postings__account__code=account)
    if kind:
        rows = rows.filter(kind=kind)
    if q:
        named = Q(idempotency_key=q) | Q(source_id=q)
        rows = rows.filter(named | Q(invoice_id=q) if _is_uuid(q) else named)
    return rows.order_by("-booked_at", "-id")


def booking(booking_id: UUID) -> LedgerTransaction | None:
    rows = LedgerTransaction.objects.select_related("reverses", "reversed_by").prefetch_related(_sides())
    return rows.filter(pk=booking_id).first()


def trial_balance() -> list[tuple[str, str, int]]:
    """(family, currency, balance) of all accounts; the balances of a currency add up to zero, or the ledger is wrong."""
    rows = LedgerBalance.objects.values_list("account__family", "account__currency").annotate(total=Sum("amount"))
    return [
        (family, currency, total) for family, currency, total in rows.order_by("account__family", "account__currency")
    ]


def _sides() -> Prefetch[str]:
    return Prefetch("postings", LedgerPosting.objects.select_related("account__tenant", "account__provider"))


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
