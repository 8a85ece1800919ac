"""Writing many rows in one statement.

Rows travel as one JSON text that Postgres takes apart by the table's own row type. For tables with row policies this is the
fast way: COPY is refused for them, and an INSERT with a parameter for each value costs several times as much on both sides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection, models

Values = Mapping[str, Any]

ROWS_PER_STATEMENT = 2_000
_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


class Json(str):
    """JSON text as the value of a JSON field: stored as it is, which spares writing down again what was written already."""

    __slots__ = ()


def insert(rows: Sequence[models.Model], *, update: Iterable[str] = ()) -> None:
    """Insert unsaved instances of one model. Fields named by `update` are overwritten where a row of that key exists.

    Values are taken as they are: no validation, no `save`, no `auto_now`. Text must be storable (no NUL, no lone surrogates).
    """
    if rows:
        insert_values(type(rows[0]), [row.__dict__ for row in rows], update=update)


def insert_values(model: type[models.Model], rows: Sequence[Values], *, update: Iterable[str] = ()) -> None:
    """The same for rows of which there are no instances: the value of every field by its name, keys of others as `..._id`."""
    if not rows:
        return
    meta = model._meta
    fields = [each for each in meta.concrete_fields if not each.generated]
    columns = ", ".join(_quote(str(each.column)) for each in fields)
    changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in _columns(meta, update))
    conflict = f" ON CONFLICT (id) DO UPDATE SET {changed}" if changed else ""
    source = f"SELECT {columns} FROM {_rows_of(meta)}"  # noqa: S608 - names of a model
    _run(f"INSERT INTO {_quote(meta.db_table)} ({columns}) {source}{conflict}", rows, fields)


def update(rows: Sequence[models.Model], names: Iterable[str]) -> None:
    """Write these fields of stored instances of one model."""
    if not rows:
        return
    meta = type(rows[0])._meta
    changed = ", ".join(f"{name} = given.{name}" for name in _columns(meta, names))
    table = _quote(meta.db_table)
    _run(
        f"UPDATE {table} SET {changed} FROM {_rows_of(meta)} given WHERE {table}.id = given.id",  # noqa: S608
        [row.__dict__ for row in rows],
        [meta.get_field(name) for name in ("id", *names)],
    )


def _run(statement: str, rows: Sequence[Values], fields: Sequence[Any]) -> None:
    names = {str(each.column): str(each.attname) for each in fields}
    texts = [str(each.column) for each in fields if isinstance(each, models.JSONField)]
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            part = rows[start : start + ROWS_PER_STATEMENT]
            values = [{column: row[name] for column, name in names.items()} for row in part]
            cursor.execute(statement, [_text(values, texts)])


def _text(rows: list[dict[str, Any]], json_columns: Sequence[str]) -> str:
    if not any(isinstance(row[column], Json) for row in rows for column in json_columns):
        return _encode(rows)
    return f"[{','.join(_row_text(row, json_columns) for row in rows)}]"


def _row_text(row: dict[str, Any], json_columns: Sequence[str]) -> str:
    """The row's key is always there, so that something stands before what is added."""
    written = {column: row.pop(column) for column in json_columns if isinstance(row[column], Json)}
    added = "".join(f',"{column}":{text}' for column, text in written.items())
    return f"{_encode(row)[:-1]}{added}}}"


def _rows_of(meta: Any) -> str:
    return f"json_populate_recordset(NULL::{_quote(meta.db_table)}, %s::json)"


def _columns(meta: Any, names: Iterable[str]) -> list[str]:
    return [_quote(meta.get_field(name).column) for name in names]


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)
