"""`CallRecord`s as array parameters: one Postgres array literal per column, built from text at C speed.

Most values of a busy gateway repeat (keys, servers, reasons), so their text form is cached; half of a row is the same for all
calls of one caller to one tool, and encoded once for as long as that holds. Text is bounded and freed of NUL, which Postgres
cannot store: a caller's odd tool name must never cost a neighbour its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg import sql

from calls.record import ALIKE, COLUMNS, CallRecord

MAX_TEXT = 512
_ALIKE = [column for column in COLUMNS if column[0] in ALIKE]
_OWN = [column for column in COLUMNS if column[0] not in ALIKE]
# The columns in the order of parameters.
ORDERED = [*_ALIKE, *_OWN]
# For groups up to this size whole columns are kept.
_KEPT_GROUP = 64
_INSERT = """
WITH live AS MATERIALIZED (SELECT id, starts_at, ends_at FROM {periods} WHERE state IN ('open', 'closing'))
INSERT INTO {table} ({columns}, period_id)
SELECT u.*, coalesce(
    (SELECT id FROM live WHERE u.occurred_at >= starts_at AND u.occurred_at < ends_at), (SELECT min(id) FROM live)
) FROM unnest({arrays}) AS u ({columns}) ON CONFLICT DO NOTHING
"""
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\x00": ""})


def insert_statement(schema: str, *, numbered: bool = False) -> bytes:
    """Insert the rows of one schema; a row that is already there stays as it is. Composed once, as it never changes.

    Each row gets the period in which it occurred, or the oldest that is not closed: a late row is billed then. The statement
    before it in the transaction must have taken the lock of `calls.locks`. `numbered` is how libpq wants its parameters,
    instead of how psycopg's cursors do.
    """
    columns = sql.SQL(", ").join(sql.Identifier(name) for name, _ in ORDERED)
    arrays = sql.SQL(", ").join(
        sql.SQL(f"{f'${number}' if numbered else '%s'}::{kind}[]")  # type: ignore[arg-type]
        for number, (_, kind) in enumerate(ORDERED, 1)
    )
    return (
        sql.SQL(_INSERT)
        .format(
            table=sql.Identifier(schema, "calls_call"),
            periods=sql.Identifier(schema, "calls_period"),
            columns=columns,
            arrays=arrays,
        )
        .as_bytes(None)
    )


def encode(records: Sequence[CallRecord]) -> list[str]:
    """One array literal per column of ORDERED."""
    return [column.decode() for column in parameters(records)]


def parameters(records: Sequence[CallRecord]) -> list[bytes]:
    """The same as libpq takes it."""
    return _alike_columns(records) + _columns(_OWN_ENCODERS, map(_own_values, records))


def _alike_columns(records: Sequence[CallRecord]) -> list[bytes]:
    alike, count = records[0].alike, len(records)
    if alike is None or not all(record.alike is alike for record in records):
        return _columns(_ALIKE_ENCODERS, map(_alike_values, records))
    columns = alike.repeated.get(count)
    if columns is None:
        texts = [encoder(value) for encoder, value in zip(_ALIKE_ENCODERS, _alike_values(records[0]), strict=True)]
        columns = [("{" + ",".join([text] * count) + "}").encode() for text in texts]
        if count <= _KEPT_GROUP:
            alike.repeated[count] = columns
    return columns


def _columns(encoders: list[Callable[[Any], str]], rows: Iterable[tuple[Any, ...]]) -> list[bytes]:
    return [
        _column(encoder, values).encode() for encoder, values in zip(encoders, zip(*rows, strict=True), strict=True)
    ]


def _column(encoder: Callable[[Any], str], values: tuple[Any, ...]) -> str:
    # In a busy moment many columns of a group hold one value: the same outcome, status, sizes. It is encoded once.
    first = values[0]
    if encoder not in _NEVER_SAME and values.count(first) == len(values):
        return "{" + ",".join([encoder(first)] * len(values)) + "}"
    return "{" + ",".join(map(encoder, values)) + "}"


def _fresh_text(value: str) -> str:
    if value.isascii() and len(value) <= MAX_TEXT and '"' not in value and "\\" not in value and "\x00" not in value:
        return f'"{value}"'
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
# Looking whether these repeat costs more than it saves.
_NEVER_SAME = frozenset({_fresh_uuid, _fresh_text, _moment})
_ALIKE_ENCODERS, _OWN_ENCODERS = (
    [_FRESH.get(name) or _BY_TYPE.get(kind, _decimal) for name, kind in columns] for columns in (_ALIKE, _OWN)
)
_alike_values, _own_values = (attrgetter(*(name for name, _ in columns)) for columns in (_ALIKE, _OWN))
