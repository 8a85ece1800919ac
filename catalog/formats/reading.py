"""Taking values out of what strangers wrote: bounded, cleaned, and every refusal remembered. Pure.

A reader never raises for data: what it cannot take becomes a `Problem` with the path of the field, and the rest goes on.
`tame` comes first. It makes any value that JSON or YAML can give into plain JSON that Postgres can store: no NUL, no half of a
surrogate pair, no NaN, no dates or sets of YAML, no loops, bounded depth and size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

from catalog.formats.normal import JSON, Problem

# Far beyond every real file (the deepest tool schema of 11,911 has 15 levels, the largest listing some 5,000 values).
DEPTH_MAX = 40
VALUES_MAX = 100_000
TEXT_MAX = 100_000
URL_MAX = 2_000

_SNAKE = re.compile(r"(?<=[a-z0-9])([A-Z])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_FRACTION = re.compile(r"(\.\d{6})\d+")
_snakes: dict[str, str] = {}


class UnreadableError(ValueError):
    """The whole file or entry cannot be taken; the text says why."""


def tame(value: Any) -> Any:
    """The value as plain JSON. Raises UnreadableError when it is too deep or too large, or loops."""
    return _Tamer().tame(value, 0)


class _Tamer:
    def __init__(self) -> None:
        self.left = VALUES_MAX

    def tame(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise UnreadableError(f"holds more than {VALUES_MAX:,} values")
        if depth > DEPTH_MAX:
            raise UnreadableError(f"is nested deeper than {DEPTH_MAX} levels")
        if isinstance(value, str):
            return clean(value)
        if isinstance(value, dict):
            return {clean(_key(key)): self.tame(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.tame(each, depth + 1) for each in value]
        return _scalar(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    return str(_scalar(key)) if key is None or isinstance(key, bool | int | float | date) else "?"


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # Beyond what a double holds, programs disagree on what the number is.
        return value if abs(value) < 2**63 else str(value) if abs(value) < 10**300 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, date) else None


def clean(text: str) -> str:
    """The text without what Postgres cannot store, at most `TEXT_MAX` characters."""
    if len(text) > TEXT_MAX:
        text = text[:TEXT_MAX]
    return text if text.isascii() and "\x00" not in text else _UNSTORABLE.sub("\ufffd", text)


class Reading:
    """One entry while it is read: where it stands, and what could not be taken of it."""

    __slots__ = ("entry", "file", "problems")

    def __init__(self, file: str, entry: str = "") -> None:
        self.file = file
        self.entry = entry
        self.problems: list[Problem] = []

    def report(self, path: str, reason: str) -> None:
        self.problems.append(Problem(self.file, self.entry, path, reason))

    def begin(self, data: Any, name_keys: tuple[str, ...] = ("name", "id")) -> Node | None:
        """The tamed data as a node, or None with a problem."""
        try:
            data = tame(data)
        except UnreadableError as error:
            self.report("", str(error))
            return None
        if not isinstance(data, dict):
            self.report("", f"is {_kind(data)} where an object is needed")
            return None
        if not self.entry:
            named = (data[key] for key in name_keys if isinstance(data.get(key), str))
            self.entry = next(named, "")[:200]
        return Node(self, data, "")


class Node:
    """An object of the data. Keys are given in camelCase and found in snake_case too, as older files have them."""

    __slots__ = ("data", "path", "reading", "taken")

    def __init__(self, reading: Reading, data: JSON, path: str) -> None:
        self.reading = reading
        self.data = data
        self.path = path
        self.taken: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def report(self, key: str, reason: str) -> None:
        self.reading.report(self.at(key) if key else self.path, reason)

    def get(self, *keys: str) -> tuple[str, Any]:
        """The first of the keys that has a value, and the value; the keys count as read."""
        data = self.data
        for key in keys:
            self.taken.add(key)
            if (value := data.get(key)) is not None:
                return key, value
            if (older := snake(key)) != key:
                self.taken.add(older)
                if (value := data.get(older)) is not None:
                    return older, value
        return keys[0], None

    def text(self, *keys: str, most: int = TEXT_MAX, needed: bool = False) -> str:
        """A string; numbers and flags are taken as their text. What is too long is cut, and said."""
        key, value = self.get(*keys)
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int | float):
            value = str(value)
        if value is None:
            value = ""
        elif not isinstance(value, str):
            self.report(key, f"is {_kind(value)} where a text is needed")
            return ""
        if needed and not value.strip():
            self.report(key, "is missing")
        if len(value) > most:
            self.report(key, f"has {len(value)} characters; it was cut to {most}")
            return value[:most]
        return value

    def choice(self, *keys: str, among: tuple[str, ...], default: str = "") -> str:
        """One of a closed vocabulary, in lower case; anything else is a problem and gives the default."""
        given = self.text(*keys)
        value = given.strip().lower()
        if value and value not in among:
            self.report(keys[0], f"{given[:40]!r} is none of {', '.join(among)}")
            return default
        return value or default

    def flag(self, *keys: str) -> bool:
        key, value = self.get(*keys)
        if value is None or isinstance(value, bool):
            return bool(value)
        if isinstance(value, str) and value.strip().lower() in ("true", "yes", "1", "false", "no", "0", ""):
            return value.strip().lower() in ("true", "yes", "1")
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
        self.report(key, f"is {_kind(value)} where true or false is needed")
        return False

    def whole(self, key: str, *, least: int, most: int) -> int | None:
        """A whole number within bounds; None when it is not given or not good."""
        name, value = self.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.report(name, f"is not a whole number from {least} to {most}")
        return None

    def url(self, *keys: str) -> str:
        """A web address (http or https), or nothing with a problem."""
        key, value = self.get(*keys)
        if isinstance(value, dict):  # npm's and mcpm's way: {"type": "git", "url": …}
            value = value.get("url")
        if value is None or value == "":
            return ""
        if isinstance(value, str) and is_web_address(value.strip()):
            return value.strip()
        self.report(key, f"is no web address: {str(value)[:80]!r}")
        return ""

    def moment(self, *keys: str) -> datetime | None:
        """A date with time (RFC 3339), or a date alone; without a zone it is read as UTC."""
        key, value = self.get(*keys)
        if value is None or value == "":
            return None
        try:
            found = datetime.fromisoformat(_FRACTION.sub(r"\1", value))
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            self.report(key, f"is no date: {str(value)[:40]!r}")
            return None

    def texts(self, *keys: str, most: int = 200, count: int = 100) -> tuple[str, ...]:
        """A list of strings without doubles and blanks; one string alone is a list of one."""
        key, value = self.get(*keys)
        if value is None:
            return ()
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            self.report(key, f"is {_kind(value)} where a list of texts is needed")
            return ()
        found: dict[str, None] = {}
        for position, each in enumerate(value):
            if isinstance(each, dict | list):
                self.report(f"{key}[{position}]", f"is {_kind(each)} where a text is needed")
            elif each is not None and (text := str(each).strip()[:most]):
                found.setdefault(text)
        if len(found) > count:
            self.report(key, f"holds {len(found)} values; the first {count} were taken")
        return tuple(found)[:count]

    def mapping(self, *keys: str) -> JSON:
        key, value = self.get(*keys)
        if value is None or isinstance(value, dict):
            return value or {}
        self.report(key, f"is {_kind(value)} where an object is needed")
        return {}

    def node(self, *keys: str) -> Node:
        """The object at the key; an empty one when there is none."""
        key, _ = self.get(*keys)
        return Node(self.reading, self.mapping(*keys), self.at(key))

    def nodes(self, *keys: str, count: int = 1_000) -> Iterator[Node]:
        """The objects of a list. An object that stands for a list of one is taken as that."""
        key, value = self.get(*keys)
        if value is None:
            return
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list):
            self.report(key, f"is {_kind(value)} where a list is needed")
            return
        if len(value) > count:
            self.report(key, f"holds {len(value)} entries; the first {count} were taken")
        for position, each in enumerate(value[:count]):
            if isinstance(each, dict):
                yield Node(self.reading, each, f"{self.at(key)}[{position}]")
            elif each is not None:
                self.report(f"{key}[{position}]", f"is {_kind(each)} where an object is needed")

    def members(self, *keys: str, count: int = 1_000) -> Iterator[tuple[str, Node]]:
        """The members of an object whose values are objects, by name."""
        key, _ = self.get(*keys)
        for name, each in list(self.mapping(*keys).items())[:count]:
            if isinstance(each, dict):
                yield name, Node(self.reading, each, f"{self.at(key)}.{name}")
            elif each is not None:
                self.report(f"{key}.{name}", f"is {_kind(each)} where an object is needed")

    def rest(self) -> JSON:
        """The members that nobody asked for: what the normal form has no field for."""
        return {key: value for key, value in self.data.items() if key not in self.taken and value is not None}


def snake(key: str) -> str:
    if key not in _snakes:
        _snakes[key] = _SNAKE.sub(r"_\1", key).lower()
    return _snakes[key]


def is_web_address(text: str) -> bool:
    if len(text) > URL_MAX or any(character <= " " for character in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_on_this_machine(url: str) -> bool:
    """Whether the address is of whoever reads it: such a listing describes a program that people run themselves."""
    host = (urlsplit(url).hostname or "").lower()
    return host in ("localhost", "0.0.0.0", "::1", "host.docker.internal") or host.startswith("127.")  # noqa: S104


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "a flag", type(None): "nothing"}
    return kinds.get(type(value), "a number")
