"""`Mcp-Param-*` headers: arguments that a tool's schema marks with `x-mcp-header` are mirrored for those who route by headers.

Source: 2026-07-28, streamable HTTP, custom headers: only strings, integers and booleans, reached from the schema's root through
`properties` alone; present exactly when the argument is present and not null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gateway.mcp import versions

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_MAX_DEPTH = 16


def header_lines(schema: Any, arguments: Any) -> bytes:
    """The header lines of a call, each with its line end. Marks that are no header names are left out."""
    return b"".join(
        b"Mcp-Param-%b: %b\r\n" % (name.encode(), versions.encode_header(text))
        for name, text in _marked(schema, arguments, 0)
    )


def _marked(schema: Any, arguments: Any, depth: int) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not isinstance(arguments, dict) or depth > _MAX_DEPTH:
        return
    for key, each in properties.items():
        value = arguments.get(key)
        if value is None or not isinstance(each, dict):
            continue
        name = each.get("x-mcp-header")
        if isinstance(name, str) and _TOKEN.match(name) and (text := _text(value)) is not None:
            yield name, text
        yield from _marked(each, value, depth + 1)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None
