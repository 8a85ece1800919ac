"""Exports piece by piece: each piece is read in the organisation's scope and written before the next one is read.

Rows come oldest first, by a key that only grows, so that an export goes on after the last row that somebody has: that row's
key is the cursor, and nothing is kept here. Memory holds one piece, whatever the length.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from audit.models import AuditEvent
from audit.services.events import CONTENT
from calls.decisions import DecisionFilter, rows_after
from calls.record import COLUMNS
from core import clock
from core.errors import InvalidError
from marketplace.exports import formats
from tenants.context import run_in_tenant, tenant_scope
from tenants.models import Tenant

ROWS_MAX = 100_000
_PIECE = 1000
AUDIT, DECISIONS = "audit", "decisions"
WHAT = (AUDIT, DECISIONS)
FORMATS = {"csv": "text/csv", "jsonl": "application/x-ndjson", "ocsf": "application/x-ndjson"}
_AUDIT_COLUMNS = ["sequence", *(name for name in CONTENT if name != "sequence"), "previous_hash", "hash"]
_CALL_COLUMNS = [name for name, _ in COLUMNS]
# A call is recorded when it ends, under the time of its beginning; later ones may be stored before it.
_SETTLES = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Export:
    """What is wanted: which log, in which form, after which row, at most how many.

    `settled` leaves out the last minutes of calls, in which older ones may still appear, so that one that goes on misses none.
    """

    tenant: Tenant
    what: str
    form: str
    after: str = ""
    limit: int = ROWS_MAX
    settled: bool = True
    wanted: DecisionFilter = field(default_factory=DecisionFilter)

    @property
    def content_type(self) -> str:
        return f"{FORMATS[self.form]}; charset=utf-8"

    @property
    def file_name(self) -> str:
        ending = {"csv": "csv", "jsonl": "jsonl", "ocsf": "ocsf.jsonl"}[self.form]
        return f"{self.tenant.slug}-{self.what}-{clock.now():%Y%m%dT%H%M%SZ}.{ending}"


def make(
    tenant: Tenant, given: Mapping[str, str], wanted: DecisionFilter | None = None, *, settled: bool = True
) -> Export:
    """An export of what was asked for as text. Raises InvalidError that names the parameter."""
    what, form = given.get("what", AUDIT), given.get("format", "jsonl")
    if what not in WHAT:
        raise _refusal("what", f"is one of {', '.join(WHAT)}")
    if form not in FORMATS:
        raise _refusal("format", f"is one of {', '.join(FORMATS)}")
    after = given.get("after", "")
    if after and not (_is_uuid(after) if what == DECISIONS else _is_number(after)):
        raise _refusal(
            "after", "is the call_id of the last row" if what == DECISIONS else "is the sequence of the last row"
        )
    limit = given.get("limit", str(ROWS_MAX))
    if not _is_number(limit) or not 1 <= int(limit) <= ROWS_MAX:
        raise _refusal("limit", f"is a number from 1 to {ROWS_MAX}")
    return Export(tenant, what, form, after, int(limit), settled, wanted or DecisionFilter())


def pieces(export: Export) -> Iterator[bytes]:
    """The file, for a server that asks in turn."""
    place: _Place | None = _Place(export.after, export.limit)
    if export.form == "csv":
        yield formats.csv_head(_columns(export))
    while place is not None:
        with tenant_scope(export.tenant):
            text, place = _piece(export.tenant, export, place)
        yield text


async def pieces_async(export: Export) -> AsyncIterator[bytes]:
    """The same for a server that must not wait."""
    place: _Place | None = _Place(export.after, export.limit)
    if export.form == "csv":
        yield formats.csv_head(_columns(export))
    while place is not None:
        text, place = await run_in_tenant(export.tenant, _piece, export, place)
        yield text


@dataclass(frozen=True, slots=True)
class _Place:
    after: str
    left: int


def _piece(tenant: Tenant, export: Export, place: _Place) -> tuple[bytes, _Place | None]:
    """The next rows as bytes, and where to go on; None at the end."""
    size = min(_PIECE, place.left)
    rows = _audit_rows(place.after, size) if export.what == AUDIT else _call_rows(export, place.after, size)
    text = _writer(export)(rows)
    if len(rows) < size or place.left <= size:
        return text, None
    return text, _Place(str(rows[-1]["sequence" if export.what == AUDIT else "call_id"]), place.left - size)


def _audit_rows(after: str, size: int) -> list[dict[str, Any]]:
    rows = AuditEvent.objects.filter(sequence__gt=int(after or 0)).order_by("sequence").values(*_AUDIT_COLUMNS)[:size]
    return [{**row, "previous_hash": bytes(row["previous_hash"]), "hash": bytes(row["hash"])} for row in rows]


def _call_rows(export: Export, after: str, size: int) -> list[dict[str, Any]]:
    until = _settled() if export.settled else None
    return rows_after(export.wanted, UUID(after) if after else None, until, size)


def _settled() -> datetime:
    return clock.now() - timedelta(seconds=settings.GATEWAY_TOTAL_S) - _SETTLES


def _columns(export: Export) -> list[str]:
    return _AUDIT_COLUMNS if export.what == AUDIT else _CALL_COLUMNS


def _writer(export: Export) -> Callable[[list[dict[str, Any]]], bytes]:
    if export.form == "csv":
        return lambda rows: formats.csv_rows(_columns(export), rows)
    if export.form == "jsonl":
        return formats.json_lines
    shape = formats.ocsf_of_audit if export.what == AUDIT else formats.ocsf_of_call
    return lambda rows: formats.json_lines([shape(row, str(export.tenant.pk)) for row in rows])


def _refusal(name: str, rule: str) -> InvalidError:
    return InvalidError(f"{name} {rule}.", code="audit.export_invalid", field=name)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
