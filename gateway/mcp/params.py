"""`Mcp-Param-*` headers: arguments that a tool's schema marks with `x-mcp-header` are mirrored for those who route by headers.

Source: 2026-07-28, streamable HTTP, custom headers: only strings, integers and booleans, reached from the schema's root through
`properties` alone; present exactly when the argument is present and not null. A client of that revision sends them itself; the
gateway does where it speaks for an older client, or for a caller who never saw the schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.mcp import versions

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
_MAX_DEPTH = 16


def header_lines(schema: Any, arguments: Any) -> bytes:
    """The header lines of a call, each with its line end. Marks that are no header names are left out."""
    return lines(places_of(schema), arguments)


def places_of(schema: Any) -> dict[str, str]:
    """Where marked arguments lie (a JSON pointer), with the header of each; of two marks with one name neither counts."""
    places = {place: header for place, header in _marks(schema, "", 0) if _TOKEN.match(header)}
    names = [header.casefold() for header in places.values()]
    return {place: header for place, header in places.items() if names.count(header.casefold()) == 1}


def lines(places: Mapping[str, str], arguments: Any) -> bytes:
    """The header lines for the arguments of one call, of places that are known."""
    found = ((header, _text(_value_at(arguments, place))) for place, header in places.items())
    return b"".join(
        b"Mcp-Param-%b: %b\r\n" % (header.encode(), versions.encode_header(text))
        for header, text in found
        if text is not None
    )


def _marks(schema: Any, place: str, depth: int) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or depth > _MAX_DEPTH:
        return
    for key, each in properties.items():
        if not isinstance(each, dict):
            continue
        inner = f"{place}/{key.replace('~', '~0').replace('/', '~1')}"
        if isinstance(header := each.get("x-mcp-header"), str):
            yield inner, header
        yield from _marks(each, inner, depth + 1)


def _value_at(arguments: Any, place: str) -> Any:
    value = arguments
    for step in place.split("/")[1:]:
        value = value.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None
