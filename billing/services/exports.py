"""The calls of an invoice as CSV, streamed in pieces: each piece opens the organisation, reads a page of calls and lets go."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections, transaction
from django.http import HttpRequest, StreamingHttpResponse

from audit import services as audit
from billing.models import Invoice
from calls.models import Call
from calls.selectors.billed import piece_of_period
from tenants.context import tenant_scope
from tenants.models import Tenant, User

ROWS = 1_000
COLUMNS = (
    "call_id", "occurred_at", "server_id", "server_name", "tool", "api_key_id", "user_id", "agent", "grant_id", "quantity",
    "price_version_id", "quoted_price", "currency", "request_id",
)  # fmt: skip
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def deliver(request: HttpRequest, tenant: Tenant, invoice: Invoice, actor: User) -> StreamingHttpResponse:
    """The answer that streams the calls; that they were exported is recorded first."""
    with tenant_scope(tenant), transaction.atomic():
        party = audit.Party("user", str(actor.pk), actor.email)
        target = audit.Party("invoice", str(invoice.pk), str(invoice))
        audit.record("billing:invoice:exported", actor=party, target=target)
    pieces = _pieces_async(tenant, invoice) if isinstance(request, ASGIRequest) else _pieces(tenant, invoice)
    headers = {
        "Content-Disposition": f'attachment; filename="{invoice.number}-calls.csv"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingHttpResponse(pieces, content_type="text/csv; charset=utf-8", headers=headers)


def _pieces(tenant: Tenant, invoice: Invoice) -> Iterator[bytes]:
    yield _csv([list(COLUMNS)])
    after = None
    while True:
        content, after = _piece(tenant, invoice.period_id, after)
        yield content
        if after is None:
            return


async def _pieces_async(tenant: Tenant, invoice: Invoice) -> AsyncIterator[bytes]:
    yield _csv([list(COLUMNS)])
    after = None
    while True:
        content, after = await sync_to_async(_piece_apart, thread_sensitive=True)(tenant, invoice.period_id, after)
        yield content
        if after is None:
            return


def _piece_apart(tenant: Tenant, period_id: int | None, after: UUID | None) -> tuple[bytes, UUID | None]:
    close_old_connections()
    try:
        return _piece(tenant, period_id, after)
    finally:
        close_old_connections()


def _piece(tenant: Tenant, period_id: int | None, after: UUID | None) -> tuple[bytes, UUID | None]:
    """A page of rows, and the call after which the next one begins; None when there is none."""
    if period_id is None:
        return b"", None
    with tenant_scope(tenant):
        calls = piece_of_period(period_id, after=after, limit=ROWS)
    return _csv([_row(call) for call in calls]), calls[-1].pk if len(calls) == ROWS else None


def _row(call: Call) -> list[str]:
    return [cell(getattr(call, name)) for name in COLUMNS]


def cell(value: object) -> str:
    """A value as text that no spreadsheet takes for a formula; numbers stay numbers."""
    text = "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv(rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()
