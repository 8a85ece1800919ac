"""What the catalog shows of prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from uuid import UUID

from billing.core.rating import RATE_DECIMALS
from billing.core.wording import lead, unit
from billing.models import PriceVersion
from billing.selectors import prices as selectors
from catalog.selectors.extras import PriceTag, ServerPrices

_FINEST = Decimal(1).scaleb(-RATE_DECIMALS)


def price_tags(server_ids: Iterable[UUID], tenant_id: UUID | None) -> dict[UUID, ServerPrices]:
    """What an organisation pays (without one: what everybody does), as `selectors.prices.choose` picks it for its calls."""
    ids = list(server_ids)
    public = selectors.current_prices(ids)
    agreed = selectors.agreed_prices(tenant_id, ids) if tenant_id is not None else {}
    return {server_id: _tags(agreed.get(server_id, {}), public.get(server_id, {})) for server_id in {*public, *agreed}}


def _tags(agreed: Mapping[str, PriceVersion], public: Mapping[str, PriceVersion]) -> ServerPrices:
    # An agreement about the whole server beats what everybody pays for one of its tools.
    names = {*agreed, *({} if "" in agreed else public)} - {""}
    whole = selectors.choose(agreed, public, "")
    tools = {name: selectors.choose(agreed, public, name) for name in names}
    return ServerPrices(
        whole=_tag(whole) if whole is not None else None,
        tools={name: _tag(price) for name, price in tools.items() if price is not None},
    )


def _tag(price: PriceVersion) -> PriceTag:
    # With all the digits that a rate can have, as it is stored.
    agreed = ", as agreed with you" if price.tenant_id is not None else ""
    return PriceTag(lead(price.terms).quantize(_FINEST), price.currency, unit(price.terms) + agreed)
