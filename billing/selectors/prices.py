"""Reading prices."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Min

from billing.models import PriceVersion
from core import clock


def current_prices(server_ids: Iterable[UUID], at: datetime | None = None) -> dict[UUID, dict[str, PriceVersion]]:
    """The prices in force (by default, now) by server and tool name; the empty name is the price of the whole server."""
    found: dict[UUID, dict[str, PriceVersion]] = {}
    rows = (
        PriceVersion.objects.filter(server_id__in=list(server_ids), effective_from__lte=at or clock.now())
        .order_by("server_id", "tool", "-effective_from")
        .distinct("server_id", "tool")
    )
    for price in rows:
        found.setdefault(price.server_id, {})[price.tool] = price
    return found


def next_changes(server_ids: Iterable[UUID], after: datetime) -> dict[UUID, datetime]:
    """When the prices of servers change next; servers without a price to come are missing."""
    rows = PriceVersion.objects.filter(server_id__in=list(server_ids), effective_from__gt=after).order_by()
    return dict(rows.values_list("server_id").annotate(moment=Min("effective_from")))
