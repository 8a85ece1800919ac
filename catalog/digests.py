"""Canonical texts and hashes of what a server declares, so that a changed definition is noticed. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import orjson

# Made once: catalogs hash hundreds of thousands of definitions.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces. Numbers that JSON has not (NaN, infinity) become null."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # whole numbers beyond 64 bits, half characters, nesting beyond what it takes
        return _encode(value)
    return _encode(value) if _may_hold_small_numbers(text) else text


def _may_hold_small_numbers(text: str) -> bool:
    """Numbers below a thousandth are the only values that the faster encoder spells in another way."""
    at = text.find("e-")
    while at > 0:
        if text[at - 1].isdecimal():
            return True
        at = text.find("e-", at + 2)
    return "0.0000" in text


def of_json(value: Any) -> str:
    """SHA-256 of the canonical JSON, as hex."""
    return of_text(canonical(value))


def of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_tool(definition: dict[str, Any]) -> str:
    """What a caller or a model relies on: name, texts, schemas, annotations. Icons and `_meta` may change freely."""
    keys = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
    return of_json({key: definition.get(key) for key in keys})
