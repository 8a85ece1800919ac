"""Reading prices."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from billing.models import PriceVersion
from core import clock


def current_prices(server_ids: Iterable[UUID]) -> dict[UUID, dict[str, PriceVersion]]:
    """The prices in force by server and tool name; the empty name is the price of the whole server."""
    found: dict[UUID, dict[str, PriceVersion]] = {}
    rows = (
        PriceVersion.objects.filter(server_id__in=list(server_ids), effective_from__lte=clock.now())
        .order_by("server_id", "tool", "-effective_from")
        .distinct("server_id", "tool")
    )
    for price in rows:
        found.setdefault(price.server_id, {})[price.tool] = price
    return found
