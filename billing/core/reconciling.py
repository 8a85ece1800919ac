"""Comparing what a payment provider says that it moved with what is booked (design of billing, 2.8).

Both sides are told by reference: the key of the booking that a movement is, or would be. Amounts are minor units as the account
of the ledger counts them: money that comes in is positive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

BALANCE_PREFIX = "balance:"


class Fault(StrEnum):
    NOT_BOOKED = "not_booked"
    NOT_FOUND = "not_found"
    AMOUNT = "amount"
    BALANCE = "balance"


@dataclass(frozen=True, slots=True)
class Side:
    """One side's word about one reference."""

    minor: int
    currency: str
    at: datetime | None = None

    def plus(self, minor: int) -> Side:
        return Side(self.minor + minor, self.currency, self.at)


@dataclass(frozen=True, slots=True)
class Difference:
    """`ours` or `theirs` is None where that side knows nothing of it."""

    reference: str
    fault: Fault
    ours: int | None
    theirs: int | None
    currency: str
    at: datetime | None


# Stripe's words for what moves its balance, and the key of the booking that it is for us.
_KEYS = {
    "charge": "pi:{}:succeeded",
    "payment": "pi:{}:succeeded",
    "refund": "re:{}",
    "payment_refund": "re:{}",
    "refund_failure": "re:{}:failed",
    "transfer": "po:{}:done",
    "transfer_refund": "po:{}:fail:1",
    "transfer_cancel": "po:{}:fail:1",
    "transfer_failure": "po:{}:fail:1",
}
TRANSFERS = frozenset({"transfer", "transfer_refund", "transfer_cancel", "transfer_failure"})
# Stripe's payouts of what it holds for us to our own bank, and those of them that came back.
BANK_PAYOUTS = frozenset({"payout", "payout_cancel", "payout_failure"})
_DISPUTES = ("dp_", "du_")


def references(kind: str, *, movement: str, subject: str, minor: int, fee: int) -> list[tuple[str, int]]:
    """What one movement at Stripe is in our books: keys of bookings, with what each moves.

    `subject` is the payment, refund or dispute that moved, of a transfer our payout item (empty when it is none of ours). What no
    event of ours makes, such as Stripe's payout to the bank, is a transfer under the movement's own id. The fee of a
    dispute is booked when the dispute is decided, so it is no part of its opening.
    """
    if kind == "adjustment" and subject.startswith(_DISPUTES):
        return [(f"dp:{subject}:{'open' if minor < 0 else 'won'}", minor)]
    form = _KEYS.get(kind)
    key = form.format(subject) if form and subject else f"mv:{movement}"
    return [(key, minor), *([(f"txn:{movement}", -fee)] if fee else [])]


def keys_of(reference: str) -> tuple[str, ...]:
    """The keys under which a reference may be booked: a charge pays an invoice, or buys credit."""
    charge = reference.removeprefix("pi:").removesuffix(":succeeded")
    return (reference, f"topup:{charge}") if reference == f"pi:{charge}:succeeded" else (reference,)


def reference_of(key: str) -> str:
    """What a booking is compared under."""
    return f"pi:{key.removeprefix('topup:')}:succeeded" if key.startswith("topup:") else key


def compare(theirs: Mapping[str, Side], ours: Mapping[str, Side]) -> list[Difference]:
    """Where the two differ, by reference. Nothing and an amount of zero are the same."""
    found = []
    for reference in sorted(theirs.keys() | ours.keys()):
        told, booked = theirs.get(reference), ours.get(reference)
        if _same(told, booked):
            continue
        known = told or booked
        assert known is not None
        found.append(
            Difference(
                reference,
                _fault(reference, told, booked),
                None if booked is None else booked.minor,
                None if told is None else told.minor,
                known.currency,
                known.at,
            )
        )
    return found


def _same(told: Side | None, booked: Side | None) -> bool:
    if told is not None and booked is not None and told.currency != booked.currency:
        return False
    return (told.minor if told else 0) == (booked.minor if booked else 0)


def _fault(reference: str, told: Side | None, booked: Side | None) -> Fault:
    if reference.startswith(BALANCE_PREFIX):
        return Fault.BALANCE
    if booked is None:
        return Fault.NOT_BOOKED
    return Fault.NOT_FOUND if told is None else Fault.AMOUNT
