"""Filters of SCIM (RFC 7644, 3.4.2.2) as conditions on rows: all operators, `and`, `or`, `not`, parentheses and `emails[…]`, on
the attributes that are stored. Everything else is refused, so that no directory takes a wider answer for a narrower one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils.dateparse import parse_datetime

from tenants.scim.errors import ScimError, invalid

LENGTH_MAX, DEPTH_MAX, TERMS_MAX = 1000, 20, 50
_URN = re.compile(r"urn:ietf:params:scim:schemas:(?:core|extension:\w+):2\.0:(?:User|Group):", re.IGNORECASE)
_TOKEN = re.compile(r'\s*(?:([()\[\]])|("(?:[^"\\\x00-\x1f]|\\.)*")|([A-Za-z][\w.:$-]*)|(-?\d+(?:\.\d+)?))')
_NOTHING = Q(pk__isnull=True)


class Kind(Enum):
    TEXT = "text"  # upper and lower case are one
    EXACT = "exact"
    FLAG = "flag"
    MOMENT = "moment"
    ID = "id"


@dataclass(frozen=True, slots=True)
class Attribute:
    """Where an attribute is stored. `is_always` says that every row has it."""

    field: str
    kind: Kind = Kind.TEXT
    is_always: bool = False


Known = Mapping[str, Attribute]
_ALIKE = {"eq": "exact", "co": "contains", "sw": "startswith", "ew": "endswith"}
_ORDER = {"gt": "gt", "ge": "gte", "lt": "lt", "le": "lte"}
_OPERATORS = {*_ALIKE, *_ORDER, "ne", "pr"}


def condition_of(text: str, known: Known) -> Q | None:
    """The rows that a filter wants, None for all of them. Raises ScimError (invalidFilter)."""
    if not text.strip():
        return None
    if len(text) > LENGTH_MAX:
        raise _refusal(f"A filter has at most {LENGTH_MAX} characters.")
    reader = _Reader(_tokens(text), known)
    found = reader.either("", 0)
    reader.end()
    return found


def _tokens(text: str) -> list[str]:
    found, at, text = [], 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _refusal(f"The filter cannot be read from character {at + 1} on.")
        found.append(match[0].strip())
        at = match.end()
    return found


class _Reader:
    """`or` binds least, then `and`, then `not`. `prefix` is the attribute whose parts stand in brackets."""

    def __init__(self, tokens: list[str], known: Known) -> None:
        self._tokens, self._known, self._at, self._terms = tokens, known, 0, 0

    def either(self, prefix: str, depth: int) -> Q:
        if depth > DEPTH_MAX:
            raise _refusal("The filter is nested too deeply.")
        found = self._both(prefix, depth)
        while self._takes("or"):
            found |= self._both(prefix, depth)
        return found

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise _refusal(f"The filter goes on after its end, at {self._tokens[self._at][:40]!r}.")

    def _both(self, prefix: str, depth: int) -> Q:
        found = self._one(prefix, depth)
        while self._takes("and"):
            found &= self._one(prefix, depth)
        return found

    def _one(self, prefix: str, depth: int) -> Q:
        if self._takes("not"):
            self._need("(")
            return ~self._until(")", prefix, depth)
        if self._takes("("):
            return self._until(")", prefix, depth)
        name = self._next()
        if not prefix and self._takes("["):
            return self._until("]", f"{_plain(name)}.", depth)
        return self._compared(prefix + _plain(name))

    def _until(self, closing: str, prefix: str, depth: int) -> Q:
        found = self.either(prefix, depth + 1)
        self._need(closing)
        return found

    def _compared(self, name: str) -> Q:
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise _refusal(f"A filter compares at most {TERMS_MAX} times.")
        attribute, operator = self._known.get(name), self._next().lower()
        if attribute is None:
            raise _refusal(f"{name[:60]!r} is not one of {', '.join(self._known)}.")
        if operator not in _OPERATORS:
            raise _refusal(f"{operator[:20]!r} is not one of {', '.join(sorted(_OPERATORS))}.")
        if operator == "pr":
            return _present(attribute)
        return _COMPARE[attribute.kind](attribute, operator, self._next())

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise _refusal("The filter ends too early.")
        self._at += 1
        return self._tokens[self._at - 1]

    def _takes(self, word: str) -> bool:
        """`and` and the like are words only where no attribute can stand; no attribute of ours is called so."""
        is_there = self._at < len(self._tokens) and self._tokens[self._at].lower() == word
        self._at += is_there
        return is_there

    def _need(self, word: str) -> None:
        if not self._takes(word):
            raise _refusal(f"The filter lacks {word!r}.")


def _plain(name: str) -> str:
    return _URN.sub("", name).lower()


def _present(attribute: Attribute) -> Q:
    if attribute.is_always or attribute.kind not in {Kind.TEXT, Kind.EXACT}:
        return ~_NOTHING
    return ~Q(**{attribute.field: ""})


def _text(attribute: Attribute, operator: str, token: str) -> Q:
    value = _string(token)
    case = "i" if attribute.kind is Kind.TEXT else ""
    if operator == "ne":
        return ~Q(**{f"{attribute.field}__{case}exact": value})
    if operator in _ALIKE:
        return Q(**{f"{attribute.field}__{case}{_ALIKE[operator]}": value})
    return Q(**{f"{attribute.field}__{_ORDER[operator]}": value})


def _flag(attribute: Attribute, operator: str, token: str) -> Q:
    text = token.lower().strip('"')  # Entra writes true and false as text
    if operator not in {"eq", "ne"} or text not in {"true", "false"}:
        raise _refusal("true and false are compared by eq and ne.")
    return Q(**{attribute.field: (text == "true") is (operator == "eq")})


def _moment(attribute: Attribute, operator: str, token: str) -> Q:
    value = _parsed(parse_datetime, _string(token), "a time such as 2026-11-01T00:00:00Z")
    if operator in _ORDER:
        return Q(**{f"{attribute.field}__{_ORDER[operator]}": value})
    if operator not in {"eq", "ne"}:
        raise _refusal("Times are compared by eq, ne, gt, ge, lt and le.")
    return Q(**{attribute.field: value}) if operator == "eq" else ~Q(**{attribute.field: value})


def _id(attribute: Attribute, operator: str, token: str) -> Q:
    if operator not in {"eq", "ne"}:
        raise _refusal("Ids are compared by eq and ne.")
    try:
        found = Q(**{attribute.field: UUID(_string(token))})
    except ValueError:
        found = _NOTHING  # a text that is no id is nobody's
    return found if operator == "eq" else ~found


_COMPARE: dict[Kind, Callable[[Attribute, str, str], Q]] = {
    Kind.TEXT: _text,
    Kind.EXACT: _text,
    Kind.FLAG: _flag,
    Kind.MOMENT: _moment,
    Kind.ID: _id,
}


def _string(token: str) -> str:
    if not token.startswith('"'):
        raise _refusal(f"{token[:40]!r} is no text in quotation marks.")
    value: Any = _parsed(json.loads, token, "a text as JSON writes it")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise _refusal("A text in the filter holds what cannot be stored.")
    return str(value)


def _parsed(read: Callable[[str], Any], text: str, what: str) -> Any:
    try:
        found = read(text)
    except ValueError as error:
        raise _refusal(f"{text[:40]} is not {what}.") from error
    if found is None or (isinstance(found, datetime) and found.tzinfo is None):
        raise _refusal(f"{text[:40]} is not {what}.")
    return found


def _refusal(detail: str) -> ScimError:
    return invalid(detail, "invalidFilter")
