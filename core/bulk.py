"""Writing many rows in one statement.

Every column travels as one array in Postgres' binary form, one that says the same in every row as that one value, and Postgres
puts the rows together. For tables with row policies this is the fast way: COPY is refused for them, and a parameter for each
value, or rows as one JSON text, cost both sides several times as much.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar
from uuid import UUID

import orjson
import psycopg
import psycopg.adapt
from django.contrib.postgres.fields import ArrayField
from django.db import connection, connections, models
from django.db.models import F, Func, Value
from django.db.models.base import ModelState

M = TypeVar("M", bound=models.Model)
ROWS_PER_STATEMENT = 4_000
_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


class Json(str):
    """JSON text as the value of a JSON field: stored as it is, which spares writing down again what was written already."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Copied:
    """A field whose values are those of the same field of rows of another model: Postgres has read and packed them already."""

    field: str
    model: type[models.Model]

    @property
    def sql(self) -> str:
        (column,) = _columns(self.model._meta, [self.field])
        table = _quote(self.model._meta.db_table)
        return f"(SELECT source.{column} FROM {table} source WHERE source.id = given.{column})"  # noqa: S608 - names


def maker(model: type[M]) -> Callable[..., M]:
    """What makes unsaved instances: values by the names of attributes, keys of others as `..._id`, defaults for the rest.

    It does what the model's constructor does with such values, without what a constructor must be ready for; that takes
    twenty times as long, and imports make instances by the hundred thousand.
    """
    fields = model._meta.concrete_fields
    # A field without a default has a class there that says so, which could be called as well.
    made = {each.attname for each in fields if each.has_default() and callable(each.default)}
    constant = {each.attname: each.get_default() for each in fields if each.attname not in made}
    called = [(each.attname, each.get_default) for each in fields if each.attname in made]

    def make(**values: Any) -> M:
        instance = model.__new__(model)
        state = instance.__dict__
        state["_state"] = ModelState()
        state.update(constant)
        state.update(values)
        for name, default in called:
            if name not in values:
                state[name] = default()
        return instance

    return make


def insert(rows: Sequence[models.Model], *, update: Iterable[str] = (), copied: Copied | None = None) -> None:
    """Insert unsaved instances of one model. Fields named by `update` are overwritten where a row of that key exists.

    Values are taken as they are: no validation, no `save`, no `auto_now`. Text must be storable (no NUL, no lone surrogates).
    """
    if rows:
        states = [row.__dict__ for row in rows]
        columns = {name: [state[name] for state in states] for name in _names(type(rows[0]))}
        insert_columns(type(rows[0]), columns, update=update, copied=copied)


def insert_columns(
    model: type[models.Model],
    columns: Mapping[str, Sequence[Any]],
    *,
    update: Iterable[str] = (),
    copied: Copied | None = None,
) -> None:
    """The same for rows of which there are no instances: the values of every field by its name, keys of others as `..._id`.

    The field that is `copied` is given as ids of the rows to copy its values from.
    """
    meta = model._meta
    fields = [each for each in meta.concrete_fields if not each.generated]
    names = ", ".join(_quote(str(each.column)) for each in fields)
    changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in _columns(meta, update))
    conflict = f" ON CONFLICT (id) DO UPDATE SET {changed}" if changed else ""
    rows = "{rows}"
    if copied is not None:
        read = ", ".join(
            copied.sql if each.name == copied.field else f"given.{_quote(str(each.column))}" for each in fields
        )
        rows = f"SELECT {read} FROM ({{rows}}) given"  # noqa: S608 - names of models
    _run(f"INSERT INTO {_quote(meta.db_table)} ({names}) {rows}{conflict}", columns, fields, copied)


def update(rows: Sequence[models.Model], names: Iterable[str]) -> None:
    """Write these fields of stored instances of one model."""
    if not rows:
        return
    meta = type(rows[0])._meta
    changed = ", ".join(f"{name} = given.{name}" for name in _columns(meta, names))
    table = _quote(meta.db_table)
    fields: list[Any] = [meta.get_field(name) for name in ("id", *names)]
    columns = {each.attname: [row.__dict__[each.attname] for row in rows] for each in fields}
    # Names of a model, and no values.
    _run(f"UPDATE {table} SET {changed} FROM ({{rows}}) given WHERE {table}.id = given.id", columns, fields)  # noqa: S608


def any_of(name: str, values: Collection[Any], field: models.Field[Any, Any]) -> Func:
    """For `filter(any_of(...))`: thousands of values of this kind as one array; `name__in` writes each into the statement."""
    given = Value(list(values), output_field=ArrayField(field))
    return Func(F(name), given, template="%(expressions)s)", arg_joiner=" = ANY(", output_field=models.BooleanField())


def _run(
    statement: str, columns: Mapping[str, Sequence[Any]], fields: Sequence[Any], copied: Copied | None = None
) -> None:
    writers = [_Column(each, is_id=copied is not None and each.name == copied.field) for each in fields]
    for start in range(0, len(columns["id"]), ROWS_PER_STATEMENT):
        given = [each.given(columns[each.name][start : start + ROWS_PER_STATEMENT]) for each in writers]
        selected = ", ".join(text for text, _ in given)
        _execute(statement.format(rows=f"SELECT {selected}"), [value for _, value in given])


def check_keys_now() -> None:
    """Look up the keys of what was written, which otherwise waits for the commit. In `meanwhile` it is done beside the caller."""
    _execute("SET CONSTRAINTS ALL IMMEDIATE", ())
    _execute("SET CONSTRAINTS ALL DEFERRED", ())  # rows that follow may name each other, as these could


def commit_without_waiting() -> None:
    """Let the present transaction end before the disk has it: for one of many that are done again by whoever finds them missing.

    The log is written in its order, so whatever is committed later and waits, such as how far an import is, makes sure of it too.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('synchronous_commit', 'off', true)")


@contextmanager
def meanwhile() -> Iterator[None]:
    """In the block the statements of this module run in their order while the caller prepares the next; after it all have run.

    What the caller asks of the database otherwise must not depend on them. Raises what the first one that failed raised.
    """
    with ThreadPoolExecutor(1, "bulk") as pool:
        lane = _Lane(pool)
        before = _lane.set(lane)
        try:
            yield
        finally:
            _lane.reset(before)
            for each in lane.statements:
                each.result()


@dataclass(frozen=True, slots=True)
class _Lane:
    pool: ThreadPoolExecutor
    statements: list[Future[None]] = field(default_factory=list)


_lane: ContextVar[_Lane | None] = ContextVar("bulk_lane", default=None)


def _execute(statement: str, values: Sequence[Any]) -> None:
    with connection.cursor():  # now it is the right one: connected, in its schema, with its viewer
        database = connections[connection.alias]
    lane = _lane.get()
    if lane is None:
        _send(database, statement, values)
    else:
        lane.statements.append(lane.pool.submit(_send, database, statement, values))


def _send(database: Any, statement: str, values: Sequence[Any]) -> None:
    """Values go beside the statement: Django's own cursor writes them into it, and Postgres would read megabytes as SQL."""
    with database.wrap_database_errors:
        cursor = psycopg.Cursor(database.connection)
        cursor.adapters.register_dumper(_Array, _ArrayDumper)
        cursor.execute(statement, values)


class _Column:
    """How the values of a field travel."""

    def __init__(self, field: Any, *, is_id: bool) -> None:
        self.name = str(field.attname)
        self._column = _quote(str(field.column))
        self._type: str = "uuid" if is_id else str(field.db_type(connection)).partition("(")[0]
        self._travels_as = self._type
        self._change: Callable[[Sequence[Any]], list[str | None]] | None = None
        if is_id:
            return
        if isinstance(field, models.JSONField):
            self._travels_as, self._change = "text", _json_texts
        elif isinstance(field, ArrayField):
            self._type = f"{str(field.base_field.db_type(connection)).partition('(')[0]}[]"
            self._travels_as, self._change = "text", _array_texts
        elif self._type in {"varchar", "text"}:
            self._type = self._travels_as = "text"
            self._change = _texts

    def given(self, values: Sequence[Any]) -> tuple[str, Any]:
        """The column in SQL, and its parameter."""
        change = self._change
        ready = list(values) if change is None else change(values)
        is_one = ready[0] == ready[-1] and ready.count(ready[0]) == len(ready)
        expression = f"%s::{self._travels_as}" if is_one else f"unnest(%b::{self._travels_as}[])"
        cast = "" if self._type == self._travels_as else f"::{self._type}"
        pack = _PACKERS.get(self._travels_as)
        value = ready[0] if is_one else ready if pack is None or None in ready else pack(ready)
        return f"{expression}{cast} AS {self._column}", value


class _Array(bytes):
    """An array as Postgres sends and takes it: dimensions, whether there are nulls, type, length, first index, elements."""


class _ArrayDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY

    def dump(self, obj: _Array) -> bytes:
        return obj


_pack_array = struct.Struct("!iiIii").pack
_pack_length = struct.Struct("!i").pack
_TEXT_OID, _UUID_OID = 25, 2950  # pg_type.dat
_ID_LENGTH = _pack_length(16)


def _pack_texts(values: Sequence[str]) -> _Array:
    """What psycopg's own dumper makes of them, in a third of the time."""
    texts = [each.encode() for each in values]
    lengths = map(_pack_length, map(len, texts))
    return _Array(
        _pack_array(1, 0, _TEXT_OID, len(texts), 1) + b"".join(chain.from_iterable(zip(lengths, texts, strict=True)))
    )


def _pack_ids(values: Sequence[UUID]) -> _Array:
    ids = [each.int.to_bytes(16, "big") for each in values]
    return _Array(_pack_array(1, 0, _UUID_OID, len(ids), 1) + _ID_LENGTH + _ID_LENGTH.join(ids))


_PLAIN = frozenset({str, type(None)})
_PACKERS: dict[str, Callable[[Any], _Array]] = {"text": _pack_texts, "uuid": _pack_ids}


def _texts(values: Sequence[Any]) -> list[str | None]:
    """Choices are texts of classes of their own; an array has elements of one class."""
    if set(map(type, values)) <= _PLAIN:
        return list(values)
    return [each if each is None or type(each) is str else str(each) for each in values]


def _json_texts(values: Sequence[Any]) -> list[str | None]:
    return [_json_text(each) for each in values]


def _array_texts(values: Sequence[Any]) -> list[str | None]:
    return [_array_text(each) for each in values]


def _json_text(value: Any) -> str:
    if isinstance(value, Json):
        return str(value)
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # whole numbers beyond 64 bits
        return _encode(value)


def _array_text(values: Sequence[Any] | None) -> str | None:
    """An array as text, since arrays of arrays must all be of one length."""
    if values is None:
        return None
    if not values:
        return "{}"
    quoted = (str(each).replace("\\", "\\\\").replace('"', '\\"') for each in values)
    return "{" + ",".join(f'"{each}"' for each in quoted) + "}"


def _names(model: type[models.Model]) -> list[str]:
    return [str(each.attname) for each in model._meta.concrete_fields if not each.generated]


def _columns(meta: Any, names: Iterable[str]) -> list[str]:
    return [_quote(meta.get_field(name).column) for name in names]


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)
