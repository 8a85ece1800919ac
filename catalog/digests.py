"""Canonical hashes of what a server declares, so that a changed definition is noticed. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# Made once: catalogs hash hundreds of thousands of definitions.
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def of_json(value: Any) -> str:
    """SHA-256 of the JSON with sorted keys and no spaces, as hex."""
    return of_text(_encode(value))


def of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_tool(definition: dict[str, Any]) -> str:
    """What a caller or a model relies on: name, texts, schemas, annotations. Icons and `_meta` may change freely."""
    keys = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
    return of_json({key: definition.get(key) for key in keys})
