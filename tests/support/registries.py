"""An official MCP registry for tests: the read API of v0 and v0.1 over real HTTP, which can be made to misbehave.

`running_registry()` serves one in a thread; `python -m tests.support.registries` serves one as a process of its own and prints
its address. It holds the versions of the shared data when they are there, else a few of its own.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.support.gateways import serving

JSON = dict[str, Any]
OFFICIAL = "io.modelcontextprotocol.registry/official"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "official-registry-2025-12-18.jsonl.gz"
SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
START = datetime(2026, 3, 1, 9, tzinfo=UTC)
_VERSIONS = ("v0", "v0.1")
_PAGE, _PAGE_MAX = 30, 100


def make_row(name: str, version: str = "1.0.0", *, at: datetime = START, latest: bool = True, **server: Any) -> JSON:
    """One version as the list gives it."""
    document = {"$schema": SCHEMA, "name": name, "description": f"What {name} does.", "version": version, **server}
    stamp = _stamp(at)
    told = {"status": "active", "publishedAt": stamp, "updatedAt": stamp, "isLatest": latest}
    return {"server": document, "_meta": {OFFICIAL: told}}


def sample_rows(count: int = 7) -> list[JSON]:
    """Servers of two versions each: packages, a remote, or both, one minute between any two."""
    rows = []
    for number in range(count):
        name = f"io.github.sample/server-{number:03}"
        parts = _sample_parts(number)
        first, second = START + timedelta(minutes=2 * number), START + timedelta(minutes=2 * number + 1)
        rows.append(make_row(name, "1.0.0", at=first, latest=False, **parts))
        rows.append(make_row(name, "1.1.0", at=second, **parts))
    return rows


def shared_rows() -> list[JSON]:
    """The 2,794 versions of the shared data, or none when it is not there."""
    if not SHARED.exists():
        return []
    with gzip.open(SHARED, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@dataclass
class FakeRegistry:
    """`faults` says what the list does at its n-th request (from 0, counted in `listed`), `always` at every one:

    `fail` (500), `limit` (429 with Retry-After), `stall` (no answer until the caller hangs up), `truncate` (the body breaks off),
    `garbage` (no JSON), `repeat` (the cursor that it was asked with, or its own first one, comes again), `refuse_cursor` (400).
    """

    rows: list[JSON] = field(default_factory=sample_rows)
    faults: dict[int, str] = field(default_factory=dict)
    always: str = ""
    page_max: int = _PAGE_MAX  # what is asked for beyond is cut to it
    token: str = ""  # when set, requests need it as a Bearer token
    port: int = 0
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)  # path, query, headers
    listed: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, row: JSON) -> None:
        """Publish a version. A latest one takes that mark from the others of its name."""
        server, told = row["server"], row["_meta"][OFFICIAL]
        for other in self._versions(server["name"]):
            if told["isLatest"]:
                other["_meta"][OFFICIAL]["isLatest"] = False
        self.rows = [each for each in self.rows if _key(each) != _key(row)] + [row]

    def change_status(self, name: str, status: str, *, at: datetime, message: str = "", version: str = "") -> None:
        """Deprecate, delete or restore versions of a name, as the registry does: they stay in the list for `updated_since`."""
        for row in self._versions(name):
            if version in ("", row["server"]["version"]):
                told = row["_meta"][OFFICIAL]
                told |= {"status": status, "statusChangedAt": _stamp(at), "updatedAt": _stamp(at)}
                if message:
                    told["statusMessage"] = message

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["raw_path"].decode().partition("?")[0]
        self.asked.append((path, query, headers))
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            await _send(send, 401, {"error": "A token is needed."})
            return
        fault = self._fault(path)
        if fault == "stall":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if fault in _FAULTS:
            await _FAULTS[fault](self, send)
            return
        status, answer = self.answer(path, query)
        if fault == "repeat" and "metadata" in answer:
            answer["metadata"]["nextCursor"] = query.get("cursor") or answer["metadata"].get("nextCursor") or "again:1"
        await _send(send, status, answer, cut=fault == "truncate")

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, JSON]:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match parts:
            case [version, "servers"] if version in _VERSIONS:
                return self._list(query)
            case [version, "servers", name, "versions"] if version in _VERSIONS:
                return self._of_name(name, query)
            case [version, "servers", name, "versions", wanted] if version in _VERSIONS:
                return self._one(name, wanted)
            case [version, "health"] if version in _VERSIONS:
                return 200, {"status": "ok"}
        return 404, {"error": "Not found"}

    def _list(self, query: dict[str, str]) -> tuple[int, JSON]:
        try:
            limit = int(query.get("limit", _PAGE))
            since = datetime.fromisoformat(query["updated_since"]) if "updated_since" in query else None
        except ValueError as error:
            return 400, {"error": str(error)}
        if not 1 <= limit <= _PAGE_MAX:
            return 422, {"error": f"limit is between 1 and {_PAGE_MAX}"}
        rows = sorted((row for row in self.rows if _is_asked_for(row, query, since)), key=_key)
        if query.get("cursor"):
            name, _, version = query["cursor"].partition(":")
            rows = [row for row in rows if _key(row) > (name, version)]
        page = rows[: min(limit, self.page_max)]
        metadata: JSON = {"count": len(page)}
        if len(page) < len(rows):
            metadata["nextCursor"] = ":".join(_key(page[-1]))
        return 200, {"servers": deepcopy(page), "metadata": metadata}

    def _of_name(self, name: str, query: dict[str, str]) -> tuple[int, JSON]:
        rows = [row for row in self._versions(name) if _is_asked_for(row, query, None)]
        rows.sort(key=lambda row: row["_meta"][OFFICIAL]["publishedAt"], reverse=True)
        if not rows:
            return 404, {"error": "Server not found"}
        return 200, {"servers": deepcopy(rows), "metadata": {"count": len(rows)}}

    def _one(self, name: str, wanted: str) -> tuple[int, JSON]:
        for row in self._versions(name):
            if row["_meta"][OFFICIAL]["isLatest"] if wanted == "latest" else row["server"]["version"] == wanted:
                return 200, deepcopy(row)
        return 404, {"error": "Server version not found"}

    def _versions(self, name: str) -> list[JSON]:
        return [row for row in self.rows if row["server"]["name"] == name]

    def _fault(self, path: str) -> str:
        if not path.rstrip("/").endswith("/servers"):
            return ""
        self.listed += 1
        return self.faults.get(self.listed - 1, self.always)

    async def _live(self, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    async def fail(self, send: Any) -> None:
        await _send(send, 500, {"error": "It broke."})

    async def limit(self, send: Any) -> None:
        await _send(send, 429, {"error": "Slower."}, more=[(b"retry-after", b"1")])

    async def speak_garbage(self, send: Any) -> None:
        await _send(send, 200, b"<html>not what you asked for</html>")

    async def refuse_cursor(self, send: Any) -> None:
        await _send(send, 400, {"error": "Invalid cursor"})


_FAULTS = {
    "fail": FakeRegistry.fail,
    "limit": FakeRegistry.limit,
    "garbage": FakeRegistry.speak_garbage,
    "refuse_cursor": FakeRegistry.refuse_cursor,
}


@contextlib.contextmanager
def running_registry(rows: Iterable[JSON] | None = None) -> Iterator[FakeRegistry]:
    """A registry that answers on a free port. It can be changed while it runs."""
    registry = FakeRegistry() if rows is None else FakeRegistry(list(rows))
    with serving(registry) as port:
        registry.port = port
        try:
            yield registry
        finally:
            registry.always, registry.faults = "", {}


def _is_asked_for(row: JSON, query: dict[str, str], since: datetime | None) -> bool:
    server, told = row["server"], row["_meta"][OFFICIAL]
    wanted = query.get("version", "")
    if wanted and not (told["isLatest"] if wanted == "latest" else server["version"] == wanted):
        return False
    if query.get("search", "").lower() not in server["name"].lower():
        return False
    if since is not None:
        return datetime.fromisoformat(told["updatedAt"]) > since
    return told["status"] != "deleted" or query.get("include_deleted") == "true"


def _key(row: JSON) -> tuple[str, str]:
    return row["server"]["name"], row["server"]["version"]


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _sample_parts(number: int) -> JSON:
    package = {
        "registryType": "npm",
        "identifier": f"@sample/server-{number:03}",
        "version": "1.0.0",
        "transport": {"type": "stdio"},
        "environmentVariables": [{"name": "SAMPLE_KEY", "description": "A key.", "isRequired": True, "isSecret": True}],
    }
    remote = {"type": "streamable-http", "url": f"https://server-{number:03}.sample.example/mcp"}
    return [{"packages": [package]}, {"remotes": [remote]}, {"packages": [package], "remotes": [remote]}][number % 3]


async def _send(
    send: Any, status: int, answer: JSON | bytes, *, cut: bool = False, more: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data[: len(data) // 2] if cut else data, "more_body": cut})
    # What is announced and does not come ends the connection, as when the other side dies.


def main() -> None:
    with running_registry(shared_rows() or None) as registry:
        sys.stdout.write(f"{registry.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
