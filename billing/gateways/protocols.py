"""What the product asks of those who move money, in its own words: values, errors and the interfaces that adapters keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from core.errors import UnavailableError, UpstreamTimeoutError


class TryLaterError(UnavailableError):
    """Nothing was done; the same request may be made again."""

    code = "billing.provider_away"
    default_message = "The payment provider does not answer."
    default_next_step = "Try again in a few minutes; nothing was charged."


class UnknownOutcomeError(UpstreamTimeoutError):
    """It may have been done. Only the same request under the same key may follow, or a question."""

    code = "billing.outcome_unknown"
    default_message = "The payment provider did not say whether it was done."
    default_next_step = "We ask the provider until it says so; do not pay a second time."


class RefusedError(UnavailableError):
    """The provider understood and refused: repeating will not help."""

    code, retryable = "billing.provider_refused", False
    default_message = "The payment provider refused the request."


class ChargeState(StrEnum):
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    NEEDS_HOLDER = "needs_holder"
    PROCESSING = "processing"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Card:
    """A saved card as it may be shown; `fingerprint` is the same for one card wherever it is saved."""

    id: str
    customer: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Setup:
    """A page of the provider where a card is entered."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class SetupResult:
    complete: bool
    customer: str
    card: Card | None


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """All that decides a charge; the same request under the same key is the same charge."""

    customer: str
    card: str
    minor: int
    currency: str
    key: str
    attempt: str
    invoice: str
    description: str


@dataclass(frozen=True, slots=True)
class Charge:
    """How a charge stands. Amounts in minor units; `entry` is the movement on the provider's balance, `attempt` is ours."""

    id: str
    state: ChargeState
    minor: int
    currency: str
    fee: int = 0
    entry: str = ""
    code: str = ""
    message: str = ""
    redirect: str = ""
    attempt: str = ""


@dataclass(frozen=True, slots=True)
class RefundResult:
    id: str
    charge: str
    minor: int
    # succeeded | pending | failed
    state: str
    entry: str


@dataclass(frozen=True, slots=True)
class DisputeResult:
    """`state` is open, won or lost; `fee` is what the provider took for it and has not given back.

    `due_at` is until when evidence is taken; None when none is, or not any more.
    """

    id: str
    charge: str
    minor: int
    currency: str
    state: str
    reason: str
    fee: int
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Movement:
    """One line of the provider's balance; `net` is `minor - fee`.

    `subject` is what moved: of a charge its payment, of a reversal its transfer, of everything else the source itself.
    """

    id: str
    kind: str
    source: str
    minor: int
    fee: int
    net: int
    currency: str
    at: datetime
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """What a webhook says happened; only its ids are used, the object is asked for again."""

    id: str
    kind: str
    subject: str


class CardGateway(Protocol):
    """Who saves cards and charges them."""

    def ensure_customer(self, *, tenant: str, name: str, email: str) -> str: ...
    def begin_setup(self, *, customer: str, back: str, leave: str, currency: str) -> Setup: ...
    def setup_result(self, setup: str) -> SetupResult: ...
    def cards(self, customer: str) -> list[Card]: ...
    def forget(self, card: str) -> None: ...
    def charge(self, request: ChargeRequest) -> Charge: ...
    def found(self, charge: str) -> Charge: ...
    def found_by_attempt(self, customer: str, attempt: str) -> Charge | None: ...
    def with_holder(self, charge: str, *, card: str, back: str) -> Charge: ...
    def cancel(self, charge: str) -> Charge: ...
    def refund(self, *, charge: str, minor: int, key: str, refund: str) -> RefundResult: ...
    def found_refund(self, charge: str, refund: str) -> RefundResult | None: ...
    def refund_result(self, refund: str) -> RefundResult: ...
    def dispute(self, dispute: str) -> DisputeResult: ...
    def movements(self, since: datetime) -> Iterator[Movement]: ...
    def balance(self, currency: str) -> int: ...
    def verified(self, body: bytes, signature: str) -> Event: ...
