"""`Mcp-Param-*` headers: arguments that a tool's schema marks with `x-mcp-header` are mirrored for those who route by headers.

Source: 2026-07-28, streamable HTTP, custom headers: only strings, integers and booleans, reached from the schema's root through
`properties` alone; present exactly when the argument is present and not null. A client of that revision sends them itself, and
what it sends must agree with its arguments; the gateway does where it speaks for an older client, or for a caller who never saw
the schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.mcp import versions
from gateway.mcp.errors import RefusedError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.0+)?\Z")
_TYPES = frozenset({"string", "integer", "boolean"})
_MAX_DEPTH, _MAX_DIGITS = 16, 400


def header_lines(schema: Any, arguments: Any) -> bytes:
    """The header lines of a call, each with its line end."""
    return lines(places_of(schema), arguments)


def places_of(schema: Any) -> dict[str, str]:
    """Where marked arguments lie (a JSON pointer), with the header of each.

    None at all where one mark is no header name, is used twice, or stands at another type: clients hide such a tool, and
    neither they nor servers heed its other marks.
    """
    marks = list(_marks(schema, "", 0))
    names = {header.casefold() for _, header, _ in marks}
    if len(names) != len(marks) or any(not _TOKEN.match(header) or kind not in _TYPES for _, header, kind in marks):
        return {}
    return {place: header for place, header, _ in marks}


def check(places: Mapping[str, str], arguments: Any, headers: Mapping[bytes, bytes]) -> None:
    """Raises RefusedError for a header that says something else than its argument, or that is missing for one."""
    for place, header in places.items():
        value = _value_at(arguments, place)
        text, sent = _text(value), headers.get(b"mcp-param-" + header.lower().encode())
        if sent is None and text is None:
            continue
        if sent is None or text is None or not _says(versions.decode_header(sent), value, text):
            raise RefusedError("gateway.header_mismatch", f"Mcp-Param-{header} and the argument at {place} differ.")


def _says(sent: str | None, value: Any, text: str) -> bool:
    if sent == text:
        return True
    # Whole numbers are compared as numbers, exactly: 42.0 is 42.
    number = _DECIMAL.match(sent) if sent is not None else None
    if number is None or isinstance(value, bool | str) or len(number[1]) > _MAX_DIGITS:
        return False
    return int(number[1]) == value


def lines(places: Mapping[str, str], arguments: Any) -> bytes:
    """The header lines for the arguments of one call, of places that are known."""
    found = ((header, _text(_value_at(arguments, place))) for place, header in places.items())
    return b"".join(
        b"Mcp-Param-%b: %b\r\n" % (header.encode(), versions.encode_header(text))
        for header, text in found
        if text is not None
    )


def _marks(schema: Any, place: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    """Place, header and type of each."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or depth > _MAX_DEPTH:
        return
    for key, each in properties.items():
        if not isinstance(each, dict):
            continue
        inner = f"{place}/{key.replace('~', '~0').replace('/', '~1')}"
        if isinstance(header := each.get("x-mcp-header"), str):
            kind = each.get("type")
            yield inner, header, kind if isinstance(kind, str) else None
        yield from _marks(each, inner, depth + 1)


def _value_at(arguments: Any, place: str) -> Any:
    value = arguments
    for step in place.split("/")[1:]:
        value = value.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
