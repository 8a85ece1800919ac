"""Rows of the call log for tests, written by the writer's own statement on the test's connection."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from calls import rows
from calls.record import CallRecord, Outcome
from core import clock, ids
from tenants.models import Tenant


def add_call(tenant: Tenant, *, at: datetime | None = None, **fields: Any) -> UUID:
    """One call of an organisation, an allowed and good one unless the fields say otherwise."""
    moment = at or clock.now()
    call_id = UUID(int=ids.lowest_at(moment).int | ids.uuid7().int & (1 << 80) - 1)
    record = CallRecord(call_id=call_id, schema_name=tenant.schema_name, occurred_at=moment)
    defaults = {
        "allowed": True,
        "reason": "allowed",
        "outcome": Outcome.OK,
        "method": "tools/call",
        "tool": "list_invoices",
        "server_name": "payments",
        "latency_ms": 12.5,
        "upstream_ms": 11.0,
        "http_status": 200,
        "attempts": 1,
    }
    for name, value in (defaults | fields).items():
        setattr(record, name, value)
    with connection.cursor() as cursor:
        cursor.execute(rows.insert_statement(tenant.schema_name), rows.encode([record]))
    return call_id


def add_refusal(tenant: Tenant, reason: str, **fields: Any) -> UUID:
    refused = {"allowed": False, "reason": reason, "outcome": Outcome.DENIED, "http_status": 403, "upstream_ms": 0.0}
    return add_call(tenant, **(refused | fields))
