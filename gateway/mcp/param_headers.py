"""`Mcp-Param-*`: arguments of a tool that its schema asks to be mirrored in headers (2026-07-28, `x-mcp-header`).

A client of that revision sends them itself. Where the gateway speaks for an older client it has to, with what the catalog read
of the tool's schema: per tool a map from the argument's place, a JSON pointer, to the header's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.mcp import versions

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
_TYPES = frozenset({"string", "integer", "boolean"})
_MAX_DEPTH = 8


def compile_map(schema: Any) -> dict[str, str]:
    """The places of a tool's input schema that are mirrored. Marks that the revision does not allow are left out."""
    places = {place: header for place, header in _marks(schema, "", 0) if _TOKEN.match(header)}
    folded = [header.casefold() for header in places.values()]
    return places if len(set(folded)) == len(folded) else {}


def lines(places: Mapping[str, str], arguments: Any) -> bytes:
    """The header lines for the arguments of one call."""
    found = ((header, _value_at(arguments, place)) for place, header in places.items())
    return b"".join(
        b"mcp-param-%b: %b\r\n" % (header.lower().encode(), versions.encode_header(_text(value)))
        for header, value in found
        if isinstance(value, str | int)
    )


def _marks(schema: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or depth >= _MAX_DEPTH:
        return
    for name, member in properties.items():
        if not isinstance(member, dict):
            continue
        inner = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
        header = member.get("x-mcp-header")
        if isinstance(header, str) and member.get("type") in _TYPES:
            yield inner, header
        yield from _marks(member, inner, depth + 1)


def _value_at(arguments: Any, place: str) -> Any:
    value = arguments
    for step in place.split("/")[1:]:
        value = value.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return value


def _text(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
