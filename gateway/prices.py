"""What a call costs its caller, from entries alone: nothing at an own server, else what was agreed, else what everybody pays."""

from __future__ import annotations

from datetime import datetime

from gateway.entries import Price, ServerEntry, TenantEntry


def price_of(tenant: TenantEntry, server: ServerEntry, tool: str, moment: datetime) -> Price | None:
    """The price of a call of this tool by this organisation at a moment; None: free."""
    if server.owner_tenant_id == tenant.tenant_id:
        return None
    offers = tenant.offers.get(server.server_id)
    if offers:
        held = {offer.tool: offer.price for offer in offers if offer.holds(moment)}
        agreed = held.get(tool) or held.get("")
        if agreed is not None:
            return agreed
    return server.tool_prices.get(tool) or server.price


def changes_at(tenant: TenantEntry, server: ServerEntry, moment: datetime) -> datetime | None:
    """When that price, or whether it may be paid, can change without an entry that changes; None: never."""
    moments = [server.prices_until]
    if tenant.unpaid_from is not None and tenant.unpaid_from > moment:
        moments.append(tenant.unpaid_from)
    for offer in tenant.offers.get(server.server_id, ()):
        moments += [each for each in (offer.starts_at, offer.ends_at) if each is not None and each > moment]
    return min((each for each in moments if each is not None), default=None)
