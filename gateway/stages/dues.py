"""Closed: an organisation that has owed for too long calls no tool with a price; what is free goes on."""

from __future__ import annotations

from gateway.context import CallContext, Caller
from gateway.mcp.errors import RefusedError


def refuse_unpaid(call: CallContext, caller: Caller, public_url: str) -> None:
    """Raises RefusedError with the page on which invoices are paid."""
    since, price = caller.tenant.unpaid_from, call.price
    if since is None or call.occurred_at < since or price is None or not price.rate:
        return
    refusal = RefusedError("billing.payment_due")
    page = f"{public_url}/o/{caller.tenant.slug}/billing/invoices/"
    refusal.next_step = refusal.next_step.replace("<page>", page)
    raise refusal
