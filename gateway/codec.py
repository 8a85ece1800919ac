"""Frozen dataclasses as JSON and back, driven by their type hints, so that a field is written down once.

A field that the sender did not know keeps its default, and one that the receiver does not know is dropped: during a rolling
deploy gateways of two releases read each other's entries. Enumerations by number travel by name, bytes as hex, decimals as
text, and a mapping keyed by something other than text as a list of pairs.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum
from functools import cache
from typing import Any, TypeVar, Union
from uuid import UUID

T = TypeVar("T")
Convert = Callable[[Any], Any]

_PLAIN = frozenset({str, int, float, bool, Any})
_TEXTUAL: dict[type, tuple[Convert, Convert]] = {
    UUID: (str, UUID),
    Decimal: (str, Decimal),
    datetime: (datetime.isoformat, datetime.fromisoformat),
    bytes: (bytes.hex, bytes.fromhex),
}


def to_json(value: Any) -> Any:
    """What `json.dumps` takes, of an instance of a dataclass."""
    return _converters(type(value))[0](value)  # type: ignore[arg-type]


def from_json(kind: type[T], data: Any) -> T:
    """The instance that `to_json` was given. Raises KeyError, TypeError or ValueError for anything else."""
    return _converters(kind)[1](data)  # type: ignore[arg-type, no-any-return]


def _same(value: Any) -> Any:
    return value


@cache
def _converters(kind: Any) -> tuple[Convert, Convert]:
    """How values of a type are written and read."""
    if kind in _PLAIN:
        return _same, _same
    if kind in _TEXTUAL:
        return _TEXTUAL[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {Union, types.UnionType}:
        return _optional(arguments)
    if origin is not None:
        return _container(origin, arguments)
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return (lambda value: value.name), kind.__getitem__
    if isinstance(kind, type) and issubclass(kind, Enum):
        return (lambda value: value.value), kind
    if is_dataclass(kind):
        return _record(kind)
    raise TypeError(f"no JSON form for {kind!r}")


def _optional(arguments: tuple[Any, ...]) -> tuple[Convert, Convert]:
    (kind,) = (each for each in arguments if each is not type(None))
    write, read = _converters(kind)
    return (
        lambda value: None if value is None else write(value),
        lambda data: None if data is None else read(data),
    )


def _container(origin: Any, arguments: tuple[Any, ...]) -> tuple[Convert, Convert]:
    if issubclass(origin, Mapping):
        return _mapping(*arguments)
    write, read = _converters(arguments[0])
    if origin is frozenset:
        # In order, so that equal entries are equal bytes.
        return (lambda value: sorted(map(write, value))), (lambda data: frozenset(map(read, data)))
    if origin is tuple:
        return (lambda value: [write(each) for each in value]), (lambda data: tuple(map(read, data)))
    raise TypeError(f"no JSON form for {origin!r}")


def _mapping(key: Any, value: Any) -> tuple[Convert, Convert]:
    write, read = _converters(value)
    if key is str:
        return (
            lambda items: {name: write(each) for name, each in items.items()},
            lambda data: {name: read(each) for name, each in data.items()},
        )
    write_key, read_key = _converters(key)
    return (
        lambda items: [[write_key(name), write(each)] for name, each in items.items()],
        lambda data: {read_key(name): read(each) for name, each in data},
    )


def _record(kind: Any) -> tuple[Convert, Convert]:
    hints = typing.get_type_hints(kind)
    members = [
        (field.name, *_converters(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
        if field.init
    ]

    def write(value: Any) -> dict[str, Any]:
        return {name: convert(getattr(value, name)) for name, convert, _, _ in members}

    def read(data: Any) -> Any:
        return kind(**{name: convert(data[name]) for name, _, convert, needed in members if needed or name in data})

    return write, read
