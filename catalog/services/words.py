"""What is stored of an entry, worked out from the entry alone. Pure, so that a thread may do it ahead of its turn."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from catalog import digests
from catalog.choices import Seen
from catalog.formats.normal import Entry
from catalog.merge import identity, listings
from core import bulk

# What the publisher may say of a release later; everything else belongs to the release.
_SAID_LATER = ("status", "status_message", "is_latest", "updated_at")
_encode_strictly = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class Words:
    """An entry with its texts, keys and columns. Each is worked out once, when it is first asked for.

    `is_put_together` says that no source gave it like this.
    """

    def __init__(self, entry: Entry, *, is_put_together: bool = False) -> None:
        self.entry = entry
        self.is_put_together = is_put_together

    @cached_property
    def _parts(self) -> tuple[str, str]:
        """The release, and what may be said of it later, as JSON texts. Raises ValueError for numbers that JSON has not."""
        release = self.entry.to_dict()
        later = {name: release.pop(name) for name in _SAID_LATER if name in release}
        return _text(release), _text(later) if later else ""

    @cached_property
    def manifest(self) -> bulk.Json:
        """The whole entry as JSON text; equal entries have equal texts."""
        release, later = self._parts
        return bulk.Json(f"{release[:-1]},{later[1:]}" if later else release)

    @cached_property
    def digest(self) -> str:
        """What tells this release from another one of the same version."""
        return digests.of_text(self._parts[0])

    @cached_property
    def keys(self) -> list[str]:
        return identity.keys_of(self.entry)

    @cached_property
    def columns(self) -> dict[str, Any]:
        return listings.columns(self.entry)

    @cached_property
    def tools(self) -> list[dict[str, Any]]:
        """The columns of `Tool` of what is declared, but for its keys."""
        return [_tool(each) for each in listings.tool_columns(self.entry)]

    def work_out(self) -> None:
        """Everything that a listing which changed will be asked for."""
        _ = self.digest, self.keys, self.columns, self.tools


def _tool(columns: dict[str, Any]) -> dict[str, Any]:
    definition = columns["definition"]
    columns["definition"] = bulk.Json(digests.canonical(definition))
    columns["definition_digest"] = digests.of_tool(definition)
    columns["seen"] = Seen.DECLARED.value
    return columns


def _text(value: dict[str, Any]) -> str:
    """Canonical JSON. Raises ValueError for numbers that JSON has not."""
    text = digests.canonical(value)
    # Such a number is told from what is null by the encoder that refuses it.
    return _encode_strictly(value) if "null" in text else text
