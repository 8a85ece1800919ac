"""Invoices for tests: lines of usage at 70 %, and months that nobody else bills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from billing.core.composing import Line
from billing.core.shares import split
from billing.models import Invoice
from billing.services import drafts
from tenants.models import Tenant

MONTH = date(2026, 10, 1)
STARTS, ENDS = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


def usage(provider_id: UUID, minor: int, *, tool: str = "list_invoices", **fields) -> Line:
    [(provider, platform)] = split([minor], 7000)
    values = {
        "kind": "usage",
        "key": f"usage:{provider_id}:{tool}",
        "label": f"Payments: {tool}",
        "starts_at": STARTS,
        "ends_at": ENDS,
        "minor": minor,
        "currency": "USD",
        "exact": Decimal(minor) / 100,
        "quantity": Decimal(minor) / 2,
        "server_name": "Payments",
        "tool": tool,
        "provider_id": provider_id,
        "provider_name": "Initech",
        "origin_month": MONTH,
        "share_bps": 7000,
        "provider_minor": provider,
        "platform_minor": platform,
    }
    return Line(**(values | fields))


def plan(minor: int, *, kind: str = "subscription", key: str = "plan:1", label: str = "Pro, November 2026") -> Line:
    return Line(kind, key, label, ENDS, datetime(2026, 12, 1, tzinfo=UTC), minor, "USD", Decimal(minor) / 100)


def draft(tenant: Tenant, lines: Sequence[Line], month: date = MONTH, period_id: int | None = None) -> Invoice:
    """A draft of these lines. The caller has opened the platform's scope."""
    kept = drafts.keep(tenant, month, drafts.compose(tenant, month, lines), period_id=period_id)
    assert kept is not None
    return kept
