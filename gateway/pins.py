"""Closed: a tool whose live definition is not the approved one is shut here at once, before the control plane has heard of it.

Every list of tools that passes is held against the digests of the approved definitions. What differs is quarantined in the entry
that this process holds and reported; the control plane notes it, tells people, and its next revision says the same to everybody.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from catalog import digests
from gateway.entries import ServerEntry
from gateway.mcp import lossless

log = logging.getLogger(__name__)

REPORT_AGAIN_S = 60.0
MAX_SEEN = 4096

Report = Callable[[UUID, dict[str, dict[str, Any]]], None]


class Pins:
    """Compares; `apply` takes an entry that is to be decided by from here on, `report` what was found, without waiting."""

    def __init__(self, apply: Callable[[ServerEntry], Any], report: Report) -> None:
        self._apply, self._report = apply, report
        self._seen: dict[tuple[UUID, bytes], tuple[int, float]] = {}

    def examine(self, server: ServerEntry, tools: Sequence[Any]) -> ServerEntry:
        """The entry to decide by from here on: the given one, or one with the changed tools in quarantine.

        An unchanged list is compared once per revision and minute.
        """
        key, now = (server.server_id, hashlib.sha256(lossless.dumps(tools)).digest()), time.monotonic()
        seen = self._seen.get(key)
        if seen is not None and seen[0] == server.revision and now - seen[1] < REPORT_AGAIN_S:
            return server
        while len(self._seen) >= MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = (server.revision, now)
        moved = self._moved(server, tools)
        if not moved:
            return server
        log.warning("tool definitions differ from the approved ones", extra={"server_id": str(server.server_id)})
        self._report(server.server_id, {name: tool for name, (tool, _) in moved.items()})
        closed = _quarantined(server, frozenset(name for name, (_, changed) in moved.items() if changed))
        if closed is not server:
            self._apply(closed)
        return closed

    @staticmethod
    def _moved(server: ServerEntry, tools: Sequence[Any]) -> dict[str, tuple[dict[str, Any], bool]]:
        """Tools whose state differs from what the entry says, with whether they differ from what was approved."""
        moved = {}
        for tool in tools:
            rule = server.policy.tools.get(_name_of(tool))
            if rule is None or not rule.digest:
                continue
            changed = digests.of_tool(tool) != rule.digest
            if changed != rule.quarantined:
                moved[rule.name] = (tool, changed)
        return moved


def _quarantined(server: ServerEntry, names: frozenset[str]) -> ServerEntry:
    """Only ever closes: a tool that is again as approved stays shut until the control plane says so."""
    if not names:
        return server
    tools = {
        name: replace(rule, quarantined=True) if name in names else rule for name, rule in server.policy.tools.items()
    }
    return replace(server, policy=replace(server.policy, tools=tools))


def _name_of(tool: Any) -> str:
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else ""
