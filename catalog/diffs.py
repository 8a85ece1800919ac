"""How tools and their schemas differ between two moments. Pure.

Written in ASCII, so that characters that do not show are seen.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONTEXT_LINES = 3
LINES_MAX = 400
_COMPARED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


@dataclass(frozen=True, slots=True)
class Line:
    kind: str  # added, removed, same, skipped
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One tool that differs: `kind` is added, removed or changed."""

    name: str
    kind: str
    lines: tuple[Line, ...]


def of_definitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Line]:
    """Two definitions line by line."""
    return _lines(_text(before), _text(after))


def of_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Line]:
    """Two JSON objects line by line, all keys counted."""
    return _lines(_dumped(before), _dumped(after))


def of_inventories(before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]) -> list[Change]:
    """Tools by name with their definitions: what was added, removed and changed, in the order of names."""
    changes = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        kind = "added" if old is None else "removed" if new is None else "changed"
        lines = of_definitions(old or {}, new or {})
        if lines:
            changes.append(Change(name, kind, tuple(lines)))
    return changes


def _lines(before: list[str], after: list[str]) -> list[Line]:
    found = list(difflib.unified_diff(before, after, lineterm="", n=CONTEXT_LINES))[2:]
    kinds = {"+": "added", "-": "removed", "@": "skipped"}
    lines = [Line(kinds.get(line[:1], "same"), "…" if line.startswith("@") else line) for line in found[:LINES_MAX]]
    if len(found) > LINES_MAX:
        lines.append(Line("skipped", f"… and {len(found) - LINES_MAX} lines more"))
    return lines


def _text(definition: Mapping[str, Any]) -> list[str]:
    return _dumped({key: definition[key] for key in _COMPARED if key in definition}) if definition else []


def _dumped(value: Mapping[str, Any]) -> list[str]:
    return json.dumps(value, indent=2, ensure_ascii=True, sort_keys=True).splitlines()
