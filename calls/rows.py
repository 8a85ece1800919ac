"""`CallRecord`s as array parameters: one Postgres array literal per column, built from text at C speed.

Most values of a busy gateway repeat (keys, servers, reasons), so their text form is cached. Text is bounded and freed of NUL,
which Postgres cannot store: a caller's odd tool name must never cost a neighbour its row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg import sql

from calls.record import COLUMNS, CallRecord

MAX_TEXT = 512
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\x00": ""})


def insert_statement(schema: str, *, numbered: bool = False) -> bytes:
    """Insert the rows of one schema; a row that is already there stays as it is. Composed once, as it never changes.

    `numbered` is how libpq wants its parameters, instead of how psycopg's cursors do.
    """
    columns = sql.SQL(", ").join(sql.Identifier(name) for name, _ in COLUMNS)
    arrays = sql.SQL(", ").join(
        sql.SQL(f"{f'${number}' if numbered else '%s'}::{kind}[]")  # type: ignore[arg-type]
        for number, (_, kind) in enumerate(COLUMNS, 1)
    )
    statement = sql.SQL("INSERT INTO {table} ({columns}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING")
    table = sql.Identifier(schema, "calls_call")
    return statement.format(table=table, columns=columns, arrays=arrays).as_bytes(None)


def encode(records: Sequence[CallRecord]) -> list[str]:
    """One array literal per column of COLUMNS."""
    columns = zip(*map(_fields, records), strict=True)
    return [_column(encoder, values) for encoder, values in zip(_ENCODERS, columns, strict=True)]


def _column(encoder: Callable[[Any], str], values: tuple[Any, ...]) -> str:
    # In a busy moment most columns of a group hold one value: the same server, revision, outcome. It is encoded once.
    first = values[0]
    if values.count(first) == len(values):
        return "{" + ",".join([encoder(first)] * len(values)) + "}"
    return "{" + ",".join(map(encoder, values)) + "}"


def _fresh_text(value: str) -> str:
    return '"' + value[:MAX_TEXT].encode("utf-8", "replace").decode().translate(_ESCAPES) + '"'


_cached_text = lru_cache(maxsize=16384)(_fresh_text)


def _text(value: str) -> str:
    return _cached_text(value) if len(value) <= 128 else _fresh_text(value)


@lru_cache(maxsize=16384)
def _uuid(value: UUID | None) -> str:
    return "NULL" if value is None else value.hex


def _fresh_uuid(value: UUID) -> str:
    return value.hex


@lru_cache(maxsize=4096)
def _decimal(value: Decimal | None) -> str:
    return "NULL" if value is None else format(value, "f")


def _moment(value: datetime) -> str:
    return f'"{value.isoformat()}"'


def _boolean(value: bool) -> str:
    return "t" if value else "f"


_BY_TYPE: dict[str, Callable[[Any], str]] = {
    "uuid": _uuid,
    "text": _text,
    "boolean": _boolean,
    "timestamptz": _moment,
    "double precision": repr,
    "integer": repr,
    "bigint": repr,
}
# Values that hardly ever repeat: caching them would only push out those that do.
_FRESH: dict[str, Callable[[Any], str]] = {
    "call_id": _fresh_uuid,
    "arguments_digest": _fresh_text,
    "request_id": _fresh_text,
    "trace_id": _fresh_text,
    "timings": _fresh_text,
}
_ENCODERS = [_FRESH.get(name) or _BY_TYPE.get(kind, _decimal) for name, kind in COLUMNS]
_fields = attrgetter(*(name for name, _ in COLUMNS))
