"""The MCP registry's API, by anybody: `GET /v0.1/servers` (stable) or `/v0/servers`, paged by cursor.

Rules of the registry for those who copy it: ask with `updated_since`, at most about hourly; keep the status fresh.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from urllib.parse import urlencode

from catalog.formats import server_json
from catalog.formats.normal import Problem
from repositories.adapters import addresses
from repositories.adapters.fetching import Reply, place
from repositories.adapters.registry import Batch, Reading
from repositories.errors import SourceRefusedError

PAGE = 100
VERSIONS = ("v0.1", "v0")
HOUR_S = 3600


class OfficialRegistry:
    kind = "official"
    label = "MCP registry"
    hint = (
        "The address of a registry that speaks the MCP registry's API, such as https://registry.modelcontextprotocol.io"
    )
    switch = ""
    platform_only = False
    incremental = True
    pause_s = HOUR_S

    def check_url(self, url: str, roots: tuple[Path, ...]) -> str:
        return addresses.web(url).removesuffix("/servers").rstrip("/")

    def read(self, reading: Reading) -> Iterator[Batch]:
        base, version, cursor = _where(reading)
        seen = {cursor}
        while True:
            version, reply = _page(reading, base, version, cursor)
            page = reply.json()
            if not isinstance(page, dict) or not isinstance(page.get("servers"), list):
                raise SourceRefusedError(f"{place(reply.url)} does not answer as an MCP registry does.")
            following = _next_cursor(page)
            entries, problems = server_json.read_all(page["servers"], f"{place(reply.url)}?cursor={cursor}"[:200])
            if following and following in seen:
                problems.append(
                    Problem(place(reply.url), "", "metadata.nextCursor", "repeats: the pages go in circles")
                )
                yield Batch(tuple(entries), tuple(problems), certain=False)
                return
            seen.add(following)
            mark = json.dumps({"version": version, "cursor": following}) if following else ""
            yield Batch(tuple(entries), tuple(problems), mark)
            if not following:
                return
            cursor = following


def _where(reading: Reading) -> tuple[str, str, str]:
    """The registry's base address, the version of its API when it is known, and the cursor."""
    mark = json.loads(reading.cursor) if reading.cursor else {}
    base, slash, last = reading.url.rpartition("/")
    if slash and last in VERSIONS:
        return base, last, mark.get("cursor", "")
    return reading.url, mark.get("version", ""), mark.get("cursor", "")


def _page(reading: Reading, base: str, version: str, cursor: str) -> tuple[str, Reply]:
    query = {"limit": str(PAGE)}
    if reading.since is not None:
        query["updated_since"] = reading.since.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if cursor:
        query["cursor"] = cursor
    for candidate in (version,) if version else VERSIONS:
        reply = reading.fetcher.get(f"{base}/{candidate}/servers?{urlencode(query)}")
        if reply.status == 200:
            return candidate, reply
    raise SourceRefusedError(f"{place(base)} has no MCP registry API (neither /v0.1/servers nor /v0/servers).")


def _next_cursor(page: dict[str, object]) -> str:
    metadata = page.get("metadata")
    found = (metadata.get("nextCursor") or metadata.get("next_cursor")) if isinstance(metadata, dict) else ""
    return found if isinstance(found, str) and len(found) <= 2000 else ""


ADAPTER = OfficialRegistry()
