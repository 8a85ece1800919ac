"""What a form of the playground is made of, as a template shows it. Pure.

Names of inputs are JSON pointers behind a letter: `f:` a value, `n:` send null, `g:` send an empty group or list, `c:` how many
rows, `v:` which variant, `k:` the name of a map's entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from marketplace.playground.shapes import Kind, Shape

Sent = Mapping[str, Sequence[str]]

_COMPOSITE = frozenset({Kind.GROUP, Kind.MAP, Kind.LINES, Kind.TICKS, Kind.ROWS})


@dataclass(frozen=True, slots=True)
class Option:
    value: str  # JSON
    label: str
    chosen: bool = False


@dataclass(slots=True)
class Field:
    """One input, or a group of them, as a template shows it."""

    kind: Kind
    pointer: str
    label: str
    shape: Shape
    required: bool = False
    value: str = ""
    options: list[Option] = field(default_factory=list)
    children: list[Field] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)  # of a map: input name and name of each entry
    is_null: bool = False
    is_sent_empty: bool = False
    error: str = ""
    hint: str = ""
    description: str = ""
    input_type: str = "text"
    lines_of: Kind = Kind.TEXT
    is_long: bool = False
    is_secret: bool = False
    count: int = 0
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"f:{self.pointer}"

    @property
    def html_id(self) -> str:
        return "f" + re.sub(r"[^A-Za-z0-9]", lambda found: f"-{ord(found[0]):x}-", self.pointer)

    @property
    def nullable(self) -> bool:
        return self.shape.nullable

    @property
    def is_composite(self) -> bool:
        return self.kind in _COMPOSITE

    @property
    def can_be_empty(self) -> bool:
        """Whether an empty group or list can be meant, beside leaving it out."""
        return self.is_composite and not self.required

    @property
    def rows(self) -> list[tuple[str, str, Field]]:
        """The entries of a map: input name and text of the name, and the value's field."""
        return [(name, text, child) for (name, text), child in zip(self.keys, self.children, strict=True)]

    @property
    def is_blank(self) -> bool:
        """Whether nothing was entered here."""
        if self.is_null or self.is_sent_empty:
            return False
        if self.kind in {Kind.CHOICE, Kind.BOOLEAN, Kind.TICKS}:
            return not any(option.chosen for option in self.options) or self.is_constant
        if self.kind is Kind.MAP:
            return all(not text and child.is_blank for _, text, child in self.rows)
        if self.kind in {Kind.GROUP, Kind.ROWS, Kind.VARIANT}:
            return all(child.is_blank for child in self.children)
        return self.kind is Kind.NULL or not self.value.strip()

    @property
    def is_constant(self) -> bool:
        return self.kind is Kind.CHOICE and self.required and len(self.options) == 1

    def walk(self) -> Iterator[Field]:
        yield self
        for child in self.children:
            yield from child.walk()


def last(pointer: str) -> str:
    """The name at the end of a JSON pointer."""
    return pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def dumps(value: Any) -> str:
    """A JSON value as the value of an input."""
    return json.dumps(value, sort_keys=True)
