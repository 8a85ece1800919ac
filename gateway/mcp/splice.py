"""Where things stand in a JSON text, so that a part can be cut out or replaced while every other byte stays as it was.

A definition that is read and written again is not the same any more: numbers, escapes and the order of members are its author's.
Only the members on the way to a part are walked; their values are skipped by the C scanner of the standard library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder(strict=True).raw_decode


class UnreadableError(ValueError):
    """The text is not JSON, or two readers could see two things in it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A value and where it stands: `text[start:end]`."""

    value: Any
    start: int
    end: int


def members(text: str, start: int = 0) -> dict[str, Part]:
    """The members of the object that begins at `start`. Raises UnreadableError, also when one occurs twice."""
    found: dict[str, Part] = {}
    index = _expect(text, _skip(text, start), "{")
    if text[index : index + 1] == "}":
        return found
    while True:
        key = _value(text, index)
        if not isinstance(key.value, str) or key.value in found:
            raise UnreadableError("a member is repeated or unnamed")
        part = found[key.value] = _value(text, _expect(text, _skip(text, key.end), ":"))
        index = _skip(text, part.end)
        if text[index : index + 1] == "}":
            return found
        index = _expect(text, index, ",")


def items(text: str, start: int) -> list[Part]:
    """The items of the array that begins at `start`. Raises UnreadableError."""
    found: list[Part] = []
    index = _expect(text, _skip(text, start), "[")
    if text[index : index + 1] == "]":
        return found
    while True:
        part = _value(text, index)
        found.append(part)
        index = _skip(text, part.end)
        if text[index : index + 1] == "]":
            return found
        index = _expect(text, index, ",")


def replace(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    """The text with each `text[start:end]` replaced; the changes do not overlap."""
    return "".join(_pieces(text, sorted(changes)))


def _pieces(text: str, changes: list[tuple[int, int, str]]) -> Iterator[str]:
    at = 0
    for start, end, new in changes:
        yield text[at:start]
        yield new
        at = end
    yield text[at:]


def _skip(text: str, index: int) -> int:
    match = _SPACE.match(text, index)
    return match.end() if match is not None else index


def _expect(text: str, index: int, sign: str) -> int:
    """The index of what follows a sign and the white space after it."""
    if text[index : index + 1] != sign:
        raise UnreadableError(f"{sign!r} is missing")
    return _skip(text, index + 1)


def _value(text: str, index: int) -> Part:
    try:
        value, end = _scan(text, index)
    except (ValueError, RecursionError) as exc:
        raise UnreadableError("a value cannot be read") from exc
    return Part(value, index, end)
