"""Pages of a merged list: the cursor says after what to go on, so that no page shifts when another server's list changes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import orjson

from gateway.mcp.errors import RefusedError

PAGE_ITEMS = 1000
PAGE_BYTES = 4 * 1024 * 1024

# An item's place, `(server, number)`, with its size in bytes.
Place = tuple[str, int]


def page(places: Sequence[Place], sizes: Sequence[int], cursor: Any) -> tuple[int, int, str | None]:
    """From where to where the page goes, and the cursor of the next one. `places` are in order. Raises RefusedError."""
    start = 0
    if cursor is not None:
        after = read_cursor(cursor)
        start = next((index for index, place in enumerate(places) if place > after), len(places))
    end, used = start, 0
    while end < len(places) and end - start < PAGE_ITEMS and (used + sizes[end] <= PAGE_BYTES or end == start):
        used += sizes[end]
        end += 1
    return start, end, write_cursor(places[end - 1]) if end < len(places) else None


def write_cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def read_cursor(cursor: Any) -> Place:
    """Raises RefusedError for anything that is none of our cursors."""
    try:
        slug, number = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(slug, str) and isinstance(number, int):
            return slug, number
    except (TypeError, ValueError, binascii.Error):
        pass
    raise RefusedError("gateway.params_invalid", "The cursor is none of this list.")
