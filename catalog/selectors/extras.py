"""What other apps know of servers: prices, and whether they are used. Who knows registers itself when it is ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from catalog.types import Viewer


@dataclass(frozen=True, slots=True)
class PriceTag:
    """`amount` in major units of `currency`, for one `unit`."""

    amount: Decimal
    currency: str
    unit: str = "call"


@dataclass(frozen=True, slots=True)
class ServerPrices:
    """What calls of a server cost: of its tools, the ones that differ by name, of every other the price of the whole."""

    whole: PriceTag | None = None
    tools: dict[str, PriceTag] = field(default_factory=dict)

    def of_tool(self, name: str) -> PriceTag | None:
        return self.tools.get(name, self.whole)

    @property
    def shown(self) -> PriceTag | None:
        """The price in one line. Where tools differ it says so, because one number would be a promise."""
        paid = [tag for tag in [self.whole, *self.tools.values()] if tag is not None and tag.amount]
        if not paid:
            return None
        lead = self.whole if self.whole is not None and self.whole.amount else min(paid, key=lambda tag: tag.amount)
        if not self.tools:
            return lead
        return PriceTag(lead.amount, lead.currency, "call, some tools differ")


class PriceSource(Protocol):
    def __call__(self, server_ids: Iterable[UUID], tenant_id: UUID | None) -> dict[UUID, ServerPrices]: ...


FREE = ServerPrices()
_sources: list[PriceSource] = []


def register_prices(source: PriceSource) -> None:
    _sources.append(source)


def prices(server_ids: Iterable[UUID], viewer: Viewer) -> dict[UUID, ServerPrices]:
    """What the viewer's organisation pays at this moment, by server; a server that is not in the answer is free.

    What was agreed with an organisation is shown to it alone: nobody else learns that there is an agreement.
    """
    ids = list(server_ids)
    found: dict[UUID, ServerPrices] = {}
    for source in _sources:
        found |= source(ids, viewer.tenant_id)
    return found


_uses: list[Callable[[UUID], bool]] = []


def register_use(asks: Callable[[UUID], bool]) -> None:
    _uses.append(asks)


def is_used(server_id: UUID) -> bool:
    """Whether the organisation whose schema is open may call the server."""
    return any(asks(server_id) for asks in _uses)
