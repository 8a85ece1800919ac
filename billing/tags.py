"""What the catalog shows of prices."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from billing.core.wording import lead, unit
from billing.models import PriceVersion
from billing.selectors import prices as selectors
from catalog.selectors.extras import PriceTag, ServerPrices


def price_tags(server_ids: Iterable[UUID]) -> dict[UUID, ServerPrices]:
    return {
        server_id: ServerPrices(
            whole=_tag(prices[""]) if "" in prices else None,
            tools={name: _tag(price) for name, price in prices.items() if name},
        )
        for server_id, prices in selectors.current_prices(server_ids).items()
    }


def _tag(price: PriceVersion) -> PriceTag:
    return PriceTag(lead(price.terms), price.currency, unit(price.terms))
