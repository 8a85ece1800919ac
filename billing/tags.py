"""What the catalog shows of prices."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from billing.core.rating import RATE_DECIMALS
from billing.core.wording import lead, unit
from billing.models import PriceVersion
from billing.selectors import prices as selectors
from catalog.selectors.extras import PriceTag, ServerPrices

_FINEST = Decimal(1).scaleb(-RATE_DECIMALS)


def price_tags(server_ids: Iterable[UUID]) -> dict[UUID, ServerPrices]:
    return {
        server_id: ServerPrices(
            whole=_tag(prices[""]) if "" in prices else None,
            tools={name: _tag(price) for name, price in prices.items() if name},
        )
        for server_id, prices in selectors.current_prices(server_ids).items()
    }


def _tag(price: PriceVersion) -> PriceTag:
    # With all the digits that a rate can have, as it is stored.
    return PriceTag(lead(price.terms).quantize(_FINEST), price.currency, unit(price.terms))
