"""What directories send, taken apart: pages, and changes in the dialects of Okta and Entra. Pure.

Okta replaces the whole or single attributes without a path (`{"op": "replace", "value": {"active": false}}`); Entra writes its
verbs with a capital, true and false as text, and names members to remove in the path (`members[value eq "…"]`). Both are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenants.scim.errors import invalid

PAGE_MAX = 100
OPERATIONS_MAX = 200
MEMBERS_MAX = 5_000
_PICK = re.compile(r'(\w+)\[\s*(\w+)\s+eq\s+"((?:[^"\\]|\\.)*)"\s*\](?:\.(\w+))?\Z', re.IGNORECASE)
_URN = re.compile(r"urn:ietf:params:scim:schemas:(?:core|extension:[\w]+):2\.0:(?:User|Group):", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """`start` counts from 1, as the standard does."""

    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Change:
    """One operation on one attribute. `picked` is the value that a path chose of several (`members[value eq "…"]`)."""

    op: str
    attribute: str
    value: Any
    picked: str = ""


def page_of(query: Mapping[str, str]) -> Page:
    return Page(max(_number(query, "startIndex", 1), 1), min(max(_number(query, "count", PAGE_MAX), 0), PAGE_MAX))


def changes_of(body: Mapping[str, Any]) -> list[Change]:
    """The operations of a PATCH, one attribute each. Raises ScimError."""
    operations = _member(body, "operations")
    if not isinstance(operations, list) or not 0 < len(operations) <= OPERATIONS_MAX:
        raise invalid(f"A PATCH has 1 to {OPERATIONS_MAX} Operations.", "invalidSyntax")
    found: list[Change] = []
    for each in operations:
        if not isinstance(each, Mapping):
            raise invalid("An operation is an object.", "invalidSyntax")
        op = str(_member(each, "op") or "").lower()
        if op not in {"add", "remove", "replace"}:
            raise invalid("An operation adds, removes or replaces.", "invalidSyntax")
        path, value = _member(each, "path"), _member(each, "value")
        if path:
            found.append(_at_path(op, str(path), value))
        elif isinstance(value, Mapping):
            found += [_at_path(op, str(name), member) for name, member in value.items()]
        else:
            raise invalid("An operation without a path has an object as its value.", "noTarget")
    return found


def _at_path(op: str, path: str, value: Any) -> Change:
    path = _URN.sub("", path[:500])
    match = _PICK.match(path)
    if match:
        attribute = f"{match[1]}.{match[4]}" if match[4] else match[1]
        return Change(op, attribute.lower(), value, _unescape(match[3]))
    return Change(op, path.lower(), value)


def as_bool(value: Any) -> bool:
    """Raises ScimError for anything but true and false, which Entra writes as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise invalid("active is true or false.")


def text(body: Mapping[str, Any], name: str, most: int) -> str:
    """A text member, blank when it is missing. Raises ScimError."""
    return _text(_member(body, name), name, most)


def plain_text(value: Any, name: str, most: int) -> str:
    return _text(value, name, most)


def name_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """Given and family name."""
    name = _member(body, "name")
    if not isinstance(name, Mapping):
        return "", ""
    return text(name, "givenName", 150), text(name, "familyName", 150)


def address_of(body: Mapping[str, Any]) -> str:
    """The primary mail address, else the first, else the user name."""
    emails = _member(body, "emails")
    listed = [each for each in emails if isinstance(each, Mapping)] if isinstance(emails, list) else []
    listed.sort(key=lambda each: not each.get("primary"))
    found = text(listed[0], "value", 254) if listed else ""
    return (found or text(body, "userName", 254)).strip().lower()


def members_of(value: Any) -> list[UUID]:
    """The ids of people. Raises ScimError."""
    if value is None:
        return []
    listed = value if isinstance(value, list) else [value]
    if len(listed) > MEMBERS_MAX:
        raise invalid(f"A request names at most {MEMBERS_MAX} members.")
    return [id_of(each.get("value") if isinstance(each, Mapping) else each) for each in listed]


def id_of(value: Any) -> UUID:
    try:
        return UUID(str(value))
    except ValueError as error:
        raise invalid("A member is named by the id that was given for it.") from error


def _member(body: Mapping[str, Any], name: str) -> Any:
    """Names of attributes differ in case only between directories (RFC 7643, 2.1)."""
    if name in body:
        return body[name]
    return next((value for key, value in body.items() if str(key).lower() == name.lower()), None)


member = _member


def _text(value: Any, name: str, most: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most or any(ord(character) < 32 for character in value):
        raise invalid(f"{name} is one line of at most {most} characters.")
    return value.strip()


def _unescape(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name, "")
    if not value:
        return default
    if not re.fullmatch(r"-?\d{1,9}", value):
        raise invalid(f"{name} is a whole number.")
    return int(value)
