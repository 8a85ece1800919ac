"""Setting prices."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import transaction

from audit import services as audit
from billing.models import PriceVersion
from catalog.models import Server
from catalog.services import servers
from core import clock
from core.errors import InvalidError


def set_price(
    *,
    server: Server,
    rate: Decimal,
    actor: audit.Party,
    tool: str = "",
    currency: str = "USD",
    effective_from: datetime | None = None,
) -> PriceVersion:
    """Set what a successful call costs from a moment on: by default, and at the earliest, from now.

    A moment that has passed counts as now, because calls since then have been made at the price that was in force.
    Raises InvalidError for a negative rate.
    """
    if rate < 0:
        raise InvalidError("A price cannot be negative.", code="billing.rate_negative", field="rate")
    now = clock.now()
    with transaction.atomic():
        price = PriceVersion.objects.create(
            server=server, tool=tool, rate=rate, currency=currency, effective_from=max(effective_from or now, now)
        )
        audit.record(
            "billing:price:set",
            actor=actor,
            target=audit.Party("server", str(server.pk), server.name),
            data={"tool": tool, "rate": str(rate), "currency": currency},
        )
        servers.touch(server)
    return price
