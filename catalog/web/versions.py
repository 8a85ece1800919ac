"""The history of a server, and what changed in its tools and its manifest between any two versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog import diffs
from catalog.models import Server, ServerVersion
from catalog.selectors import detail

VERSIONS_MAX = 50


def build(server: Server, given: Mapping[str, str]) -> dict[str, Any]:
    """`given` may name two versions by id in `from` and `to`; without, the current one and the one before it."""
    versions = list(detail.list_versions(server, VERSIONS_MAX))
    after = detail.find_version(server, given.get("to", "")) or server.current_version
    before = detail.find_version(server, given.get("from", "")) or (detail.previous_version(after) if after else None)
    return {
        "versions": versions,
        "current_id": server.current_version_id,
        "before": before,
        "after": after,
        **(_difference(before, after) if before and after else {}),
    }


def _difference(before: ServerVersion, after: ServerVersion) -> dict[str, Any]:
    changes = diffs.of_inventories(detail.definitions_of(before), detail.definitions_of(after))
    return {
        "changes": changes,
        "counts": {kind: sum(change.kind == kind for change in changes) for kind in ("added", "removed", "changed")},
        "instructions": diffs.of_values({"text": before.instructions}, {"text": after.instructions}),
        "manifest": diffs.of_values(_without_tools(before), _without_tools(after)),
    }


def _without_tools(version: ServerVersion) -> dict[str, Any]:
    """The manifest, without what the list of tools shows already."""
    return {name: value for name, value in version.manifest.items() if name != "tools"}
