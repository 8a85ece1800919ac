"""What each event of money posts: pure rules, the one place that knows both sides of a booking.

An entry is an account's code and an amount in minor units, debit positive. Codes begin with the side of the balance sheet:
`A` assets, `L` liabilities, `R` revenue, `E` expenses; what is somebody's ends in their id. `docs/ledger.md` is this page for
people, with examples that a test recomputes. A booking that balances can still be wrong, so each kind also says which
families of accounts it may debit and which it may credit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from core.errors import InvalidError

STRIPE, PAYPAL, BANK, DISPUTED = "A:stripe", "A:paypal", "A:bank", "A:disputed"
DEFERRED_SUBSCRIPTION = "L:deferred_sub"
SUBSCRIPTION, PLATFORM_FEE = "R:subscription", "R:platform_fee"
PROCESSOR_FEE, PAYOUT_FEE, PROMO_CREDIT = "E:processor_fee", "E:payout_fee", "E:promo_credit"
BAD_DEBT, DISPUTE_COST = "E:bad_debt", "E:dispute"

AR, PENDING, AVAILABLE, TRANSIT = "A:ar", "L:prov_pending", "L:prov_available", "L:prov_transit"
CUSTOMER_CREDIT, TAX = "L:customer_credit", "L:tax"
# Families whose codes end in whose they are.
TENANTS, PROVIDERS, JURISDICTIONS = (
    frozenset({AR, CUSTOMER_CREDIT}),
    frozenset({PENDING, AVAILABLE, TRANSIT}),
    frozenset({TAX}),
)
SINGLE = frozenset(
    {
        STRIPE, PAYPAL, BANK, DISPUTED, DEFERRED_SUBSCRIPTION, SUBSCRIPTION, PLATFORM_FEE, PROCESSOR_FEE, PAYOUT_FEE,
        PROMO_CREDIT, BAD_DEBT, DISPUTE_COST,
    }
)  # fmt: skip
CASH = frozenset({STRIPE, PAYPAL, BANK})


class Kind(StrEnum):
    INVOICE_OPENED = "invoice_opened"
    INVOICE_VOIDED = "invoice_voided"
    MONTH_EARNED = "month_earned"
    PAYMENT = "payment"
    PROCESSOR_FEE = "processor_fee"
    TOP_UP = "top_up"
    CREDIT_USED = "credit_used"
    PROMO_USED = "promo_used"
    RELEASE = "release"
    PAYOUT_RESERVED = "payout_reserved"
    PAYOUT_DONE = "payout_done"
    PAYOUT_FAILED = "payout_failed"
    PAYOUT_FEE = "payout_fee"
    CREDIT_NOTE = "credit_note"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"
    WRITE_OFF = "write_off"
    RECOVERY = "recovery"
    TRANSFER = "transfer"


class Entry(NamedTuple):
    """`minor` is positive for a debit and negative for a credit."""

    account: str
    minor: int


class Owner(NamedTuple):
    """Whose an account is: a kind (`tenant`, `provider`, `jurisdiction` or nothing) and an id."""

    kind: str = ""
    id: str = ""


class Rule(NamedTuple):
    """Which families of accounts a kind may debit, and which it may credit."""

    debit: frozenset[str]
    credit: frozenset[str]


def _rule(debit: Iterable[str], credit: Iterable[str]) -> Rule:
    return Rule(frozenset(debit), frozenset(credit))


# A negative line (a step down in volume, the rest of a plan that was left) takes from where its like was credited.
_EARNED = (PENDING, PLATFORM_FEE, DEFERRED_SUBSCRIPTION, TAX)
_OPENED = _rule((AR, PROMO_CREDIT, *_EARNED), (*_EARNED, CUSTOMER_CREDIT))
_WRITTEN_OFF = _rule((PENDING, AVAILABLE, BAD_DEBT), (AR,))

RULES: Mapping[Kind, Rule] = {
    Kind.INVOICE_OPENED: _OPENED,
    Kind.INVOICE_VOIDED: Rule(_OPENED.credit, _OPENED.debit),
    Kind.MONTH_EARNED: _rule((DEFERRED_SUBSCRIPTION,), (SUBSCRIPTION,)),
    Kind.PAYMENT: _rule(CASH, (AR, CUSTOMER_CREDIT)),
    Kind.PROCESSOR_FEE: _rule((PROCESSOR_FEE,), CASH),
    Kind.TOP_UP: _rule(CASH, (CUSTOMER_CREDIT,)),
    Kind.CREDIT_USED: _rule((CUSTOMER_CREDIT,), (AR,)),
    Kind.PROMO_USED: _rule((PROMO_CREDIT,), (AR,)),
    Kind.RELEASE: _rule((PENDING,), (AVAILABLE,)),
    Kind.PAYOUT_RESERVED: _rule((AVAILABLE,), (TRANSIT,)),
    Kind.PAYOUT_DONE: _rule((TRANSIT,), CASH),
    Kind.PAYOUT_FAILED: _rule((TRANSIT, *CASH), (AVAILABLE,)),
    Kind.PAYOUT_FEE: _rule((PAYOUT_FEE,), CASH),
    Kind.CREDIT_NOTE: _rule(
        (PENDING, AVAILABLE, PLATFORM_FEE, TAX, DEFERRED_SUBSCRIPTION, SUBSCRIPTION),
        (AR, CUSTOMER_CREDIT, PROMO_CREDIT),
    ),
    Kind.REFUND: _rule((AR, CUSTOMER_CREDIT), CASH),
    Kind.REFUND_FAILED: _rule(CASH, (AR, CUSTOMER_CREDIT)),
    Kind.DISPUTE_OPENED: _rule((DISPUTED,), CASH),
    Kind.DISPUTE_WON: _rule(CASH, (DISPUTED,)),
    Kind.DISPUTE_LOST: _rule(
        (PENDING, AVAILABLE, PLATFORM_FEE, CUSTOMER_CREDIT, BAD_DEBT, DISPUTE_COST), (DISPUTED, *CASH)
    ),
    Kind.WRITE_OFF: _WRITTEN_OFF,
    Kind.RECOVERY: Rule(_WRITTEN_OFF.credit, _WRITTEN_OFF.debit),
    Kind.TRANSFER: _rule(CASH, CASH),
}


# -- Accounts


def of(family: str, owner: UUID | str) -> str:
    """The code of somebody's account."""
    return f"{family}:{owner}"


def family_of(code: str) -> str:
    """The family of a code. Raises InvalidError for a code that names no account of ours."""
    family = code if code in SINGLE else code.rpartition(":")[0]
    owned = family in TENANTS | PROVIDERS | JURISDICTIONS and not code.endswith(":")
    if code not in SINGLE and not owned:
        raise InvalidError(f"{code!r} is no account of the ledger.", code="billing.account_unknown", field="account")
    return family


def owner_of(code: str) -> Owner:
    family = family_of(code)
    for kind, families in (("tenant", TENANTS), ("provider", PROVIDERS), ("jurisdiction", JURISDICTIONS)):
        if family in families:
            return Owner(kind, code.rpartition(":")[2])
    return Owner()


# -- What may be booked


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """One entry an account, in the order of codes; what comes to nothing is left out."""
    sums: dict[str, int] = {}
    for account, minor in entries:
        sums[account] = sums.get(account, 0) + minor
    return [Entry(account, minor) for account, minor in sorted(sums.items()) if minor]


def check(kind: Kind, entries: Iterable[Entry]) -> None:
    """Raises InvalidError for a booking that does not balance, moves nothing, or joins accounts that its kind may not."""
    booked = list(entries)
    if len(booked) < 2 or any(not minor for _, minor in booked):
        raise InvalidError("A booking has two sides that are not zero.", code="billing.booking_empty")
    if total := sum(minor for _, minor in booked):
        raise InvalidError(f"The booking is out of balance by {total} minor units.", code="billing.booking_unbalanced")
    rule = RULES[kind]
    for account, minor in booked:
        if family_of(account) not in (rule.debit if minor > 0 else rule.credit):
            side = "debit" if minor > 0 else "credit"
            raise InvalidError(f"{kind.value} may not {side} {account}.", code="billing.booking_not_allowed")


def reversed_(entries: Iterable[Entry]) -> list[Entry]:
    """The same booking the other way round: a reversal follows what was recorded, never today's prices."""
    return [Entry(account, -minor) for account, minor in entries]


def _move(debit: str, credit: str, minor: int) -> list[Entry]:
    return merged([Entry(debit, minor), Entry(credit, -minor)])


# -- Invoices


@dataclass(frozen=True, slots=True)
class Parts:
    """What an invoice is made of, in minor units. `credit` is what the platform gives (included or promotional), positive.

    `shares` by provider and `platform` add up to the usage net of tax.
    """

    tenant: UUID
    shares: Mapping[UUID, int] = field(default_factory=dict)
    platform: int = 0
    subscription: int = 0
    credit: int = 0
    tax: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.shares.values()) + self.platform + self.subscription - self.credit + sum(self.tax.values())


def invoice_opened(parts: Parts) -> list[Entry]:
    """The organisation owes the total; a total below zero is put to its credit instead."""
    owed = of(AR, parts.tenant) if parts.total >= 0 else of(CUSTOMER_CREDIT, parts.tenant)
    return merged(
        [
            Entry(owed, parts.total),
            Entry(PROMO_CREDIT, parts.credit),
            *(Entry(of(PENDING, provider), -minor) for provider, minor in parts.shares.items()),
            Entry(PLATFORM_FEE, -parts.platform),
            Entry(DEFERRED_SUBSCRIPTION, -parts.subscription),
            *(Entry(of(TAX, jurisdiction), -minor) for jurisdiction, minor in parts.tax.items()),
        ]
    )


def invoice_voided(opened: Iterable[Entry]) -> list[Entry]:
    return reversed_(opened)


def month_earned(minor: int) -> list[Entry]:
    """A month of a subscription has passed: what was paid ahead for it is ours."""
    return _move(DEFERRED_SUBSCRIPTION, SUBSCRIPTION, minor)


# -- Money that comes in


def payment(tenant: UUID, minor: int, due: int, into: str = STRIPE) -> list[Entry]:
    """A payment settles what is due of an invoice; what is more stays as the organisation's credit."""
    settled = min(minor, max(due, 0))
    return merged(
        [Entry(into, minor), Entry(of(AR, tenant), -settled), Entry(of(CUSTOMER_CREDIT, tenant), settled - minor)]
    )


def processor_fee(minor: int, account: str = STRIPE) -> list[Entry]:
    """The platform bears what collecting costs."""
    return _move(PROCESSOR_FEE, account, minor)


def top_up(tenant: UUID, minor: int, into: str = STRIPE) -> list[Entry]:
    return _move(into, of(CUSTOMER_CREDIT, tenant), minor)


def credit_used(tenant: UUID, minor: int) -> list[Entry]:
    """An invoice is paid from what the organisation has with us."""
    return _move(of(CUSTOMER_CREDIT, tenant), of(AR, tenant), minor)


def promo_used(tenant: UUID, minor: int) -> list[Entry]:
    """An invoice is paid by a gift of the platform; providers earn as if it had been paid."""
    return _move(PROMO_CREDIT, of(AR, tenant), minor)


def transfer(source: str, target: str, minor: int) -> list[Entry]:
    """Money of ours goes from one place to another: Stripe's payout to the bank, the bank's payment to PayPal."""
    return _move(target, source, minor)


# -- Money that is taken back


class Share(NamedTuple):
    """What of a provider's share still waits (`pending`), and what was already released to them (`available`)."""

    pending: int = 0
    available: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """What is taken back of an invoice: from whom, in minor units, all positive.

    `deferred` is of a subscription's time to come, `earned` of time that has passed; `credit` is given credit taken back with it.
    `balance` is of the organisation's own credit, which a payment that a bank takes back had bought.
    """

    tenant: UUID
    shares: Mapping[UUID, Share] = field(default_factory=dict)
    platform: int = 0
    deferred: int = 0
    earned: int = 0
    credit: int = 0
    balance: int = 0
    tax: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        usage = sum(share.pending + share.available for share in self.shares.values()) + self.platform + self.balance
        return usage + self.deferred + self.earned - self.credit + sum(self.tax.values())


def _from_providers(shares: Mapping[UUID, Share]) -> list[Entry]:
    return [
        entry
        for provider, share in shares.items()
        for entry in (Entry(of(PENDING, provider), share.pending), Entry(of(AVAILABLE, provider), share.available))
    ]


def credit_note(taken: Taken, unpaid: int) -> list[Entry]:
    """A credit note lowers what is still due (`unpaid`); what it gives back beyond that is the organisation's credit."""
    lowered = min(taken.total, max(unpaid, 0))
    return merged(
        [
            *_from_providers(taken.shares),
            Entry(PLATFORM_FEE, taken.platform),
            Entry(DEFERRED_SUBSCRIPTION, taken.deferred),
            Entry(SUBSCRIPTION, taken.earned),
            Entry(PROMO_CREDIT, -taken.credit),
            *(Entry(of(TAX, jurisdiction), minor) for jurisdiction, minor in taken.tax.items()),
            Entry(of(AR, taken.tenant), -lowered),
            Entry(of(CUSTOMER_CREDIT, taken.tenant), lowered - taken.total),
        ]
    )


def refund(tenant: UUID, minor: int, out_of: str = STRIPE) -> list[Entry]:
    """What a credit note gave to the balance goes back to where the payment came from."""
    return _move(of(CUSTOMER_CREDIT, tenant), out_of, minor)


def refund_failed(tenant: UUID, minor: int, back_in: str = STRIPE) -> list[Entry]:
    """The bank would not take it: the organisation has its credit again."""
    return _move(back_in, of(CUSTOMER_CREDIT, tenant), minor)


def dispute_opened(minor: int, out_of: str = STRIPE) -> list[Entry]:
    """The card's bank took the payment back until it has decided."""
    return _move(DISPUTED, out_of, minor)


def dispute_won(minor: int, into: str = STRIPE) -> list[Entry]:
    return _move(into, DISPUTED, minor)


def dispute_lost(taken: Taken, fee: int = 0, out_of: str = STRIPE) -> list[Entry]:
    """Providers and platform give up their shares; subscription and tax stay due to us and to the state, so they are a loss."""
    lost = taken.deferred + taken.earned - taken.credit + sum(taken.tax.values())
    return merged(
        [
            *_from_providers(taken.shares),
            Entry(PLATFORM_FEE, taken.platform),
            Entry(of(CUSTOMER_CREDIT, taken.tenant), taken.balance),
            Entry(BAD_DEBT, lost),
            Entry(DISPUTE_COST, fee),
            Entry(DISPUTED, -taken.total),
            Entry(out_of, -fee),
        ]
    )


def write_off(tenant: UUID, shares: Mapping[UUID, Share], due: int) -> list[Entry]:
    """What nobody will pay: providers are paid from money collected only, the rest is the platform's loss."""
    theirs = _from_providers(shares)
    return merged([*theirs, Entry(BAD_DEBT, due - sum(minor for _, minor in theirs)), Entry(of(AR, tenant), -due)])


def recovery(written_off: Iterable[Entry]) -> list[Entry]:
    """What was written off is paid after all: first it is due again, then the payment is booked as any other."""
    return reversed_(written_off)


# -- Providers


def release(provider: UUID, minor: int) -> list[Entry]:
    """The invoice is paid and the time of holding back is over."""
    return _move(of(PENDING, provider), of(AVAILABLE, provider), minor)


def payout_reserved(provider: UUID, minor: int) -> list[Entry]:
    return _move(of(AVAILABLE, provider), of(TRANSIT, provider), minor)


def payout_done(provider: UUID, minor: int, out_of: str) -> list[Entry]:
    return _move(of(TRANSIT, provider), out_of, minor)


def payout_failed(provider: UUID, minor: int, back_in: str = "") -> list[Entry]:
    """It did not arrive. `back_in` names where the money came back to when the payout had counted as done."""
    return _move(back_in or of(TRANSIT, provider), of(AVAILABLE, provider), minor)


def payout_fee(minor: int, out_of: str) -> list[Entry]:
    return _move(PAYOUT_FEE, out_of, minor)
