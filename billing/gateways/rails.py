"""How money gets to providers: what every rail does, in the words of the marketplace.

A rail is told a batch under the id that we gave it before it was sent. After an answer that nobody saw, the same batch is told
again under the same id; the rail then answers as if for the first time. So no provider is ever paid twice for one item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class ItemStatus(StrEnum):
    """PayPal's words for an item; Connect's transfers know the first three and the last."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    UNCLAIMED = "UNCLAIMED"
    RETURNED = "RETURNED"
    ONHOLD = "ONHOLD"
    BLOCKED = "BLOCKED"
    REFUNDED = "REFUNDED"
    REVERSED = "REVERSED"


# What has ended without the money being the provider's. Everything else but SUCCESS is waited for.
NOT_ARRIVED = frozenset(
    {ItemStatus.FAILED, ItemStatus.RETURNED, ItemStatus.BLOCKED, ItemStatus.REFUNDED, ItemStatus.REVERSED}
)


@dataclass(frozen=True, slots=True)
class PayoutOrder:
    """One payment to one provider: `destination` is a PayPal address or the id of a Connect account."""

    item_id: UUID
    destination: str
    minor: int
    currency: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """`external_id` is the rail's own name of the batch, empty until it has answered once."""

    batch_id: UUID
    orders: tuple[PayoutOrder, ...]
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class ItemState:
    """What a rail says of an item. `fee_minor` is what it charged us for it."""

    item_id: UUID
    status: ItemStatus
    external_id: str = ""
    reason: str = ""
    fee_minor: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch. `items` may be empty: they are asked for later."""

    external_id: str
    items: tuple[ItemState, ...] = ()


class Rail(Protocol):
    """A way to pay. Raises RefusedError or InvalidError when the batch as a whole was refused and nothing of it will be paid;
    after any other error of ours the outcome is unknown, and the same batch is told again."""

    def submit(self, batch: BatchOrder) -> Answer:
        """Pay the batch, or learn what became of it when it was told before under the same id."""
        ...

    def poll(self, batch: BatchOrder) -> Sequence[ItemState]:
        """The state of every item of a batch that was submitted."""
        ...


_makers: dict[str, Callable[[], Rail]] = {}


def register(name: str, make: Callable[[], Rail]) -> None:
    """Let payouts of a rail (`paypal`, `connect`) go through an adapter."""
    _makers[name] = make


def is_registered(name: str) -> bool:
    return name in _makers


def rail(name: str) -> Rail:
    """Raises KeyError for a rail without an adapter."""
    return _makers[name]()
