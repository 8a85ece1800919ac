"""Writing many rows in one statement.

Rows travel as one JSON text that Postgres takes apart by the table's own row type. For tables with row policies this is the
fast way: COPY is refused for them, and an INSERT with a parameter for each value costs several times as much on both sides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection, models

ROWS_PER_STATEMENT = 2_000


def insert(rows: Sequence[models.Model], *, update: Iterable[str] = ()) -> None:
    """Insert unsaved instances of one model. Fields named by `update` are overwritten where a row of that key exists.

    Values are taken as they are: no validation, no `save`, no `auto_now`. Text must be storable (no NUL, no lone surrogates).
    """
    if not rows:
        return
    meta = type(rows[0])._meta
    fields = {str(each.column): each.attname for each in meta.concrete_fields if not each.generated}
    columns = ", ".join(map(_quote, fields))
    changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in _columns(meta, update))
    conflict = f" ON CONFLICT (id) DO UPDATE SET {changed}" if changed else ""
    source = f"SELECT {columns} FROM {_rows_of(meta)}"  # noqa: S608 - names of a model
    _run(f"INSERT INTO {_quote(meta.db_table)} ({columns}) {source}{conflict}", rows, fields)


def update(rows: Sequence[models.Model], names: Iterable[str]) -> None:
    """Write these fields of stored instances of one model."""
    if not rows:
        return
    meta = type(rows[0])._meta
    wanted: list[Any] = [meta.get_field(name) for name in ("id", *names)]
    fields = {str(each.column): str(each.attname) for each in wanted}
    changed = ", ".join(f"{name} = given.{name}" for name in _columns(meta, names))
    table = _quote(meta.db_table)
    _run(
        f"UPDATE {table} SET {changed} FROM {_rows_of(meta)} given WHERE {table}.id = given.id",  # noqa: S608
        rows,
        fields,
    )


def _run(statement: str, rows: Sequence[models.Model], fields: Mapping[str, str]) -> None:
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            part = rows[start : start + ROWS_PER_STATEMENT]
            values = [{column: row.__dict__[name] for column, name in fields.items()} for row in part]
            cursor.execute(statement, [json.dumps(values, default=str, ensure_ascii=False)])


def _rows_of(meta: Any) -> str:
    return f"json_populate_recordset(NULL::{_quote(meta.db_table)}, %s::json)"


def _columns(meta: Any, names: Iterable[str]) -> list[str]:
    return [_quote(meta.get_field(name).column) for name in names]


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)
