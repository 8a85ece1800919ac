"""A client of the registry's read API as the standard describes it: it knows nothing of who is behind the address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
from django.test import Client

JSON = dict[str, Any]
OFFICIAL = "io.modelcontextprotocol.registry/official"


class InTransaction(httpx.BaseTransport):
    """Asks the product's own pages inside the test's transaction."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = Client().generic(request.method, request.url.raw_path.decode(), headers=dict(request.headers))
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


@dataclass
class RegistryClient:
    base: str  # with the prefix of the version, such as https://host/v0.1
    headers: dict[str, str] = field(default_factory=dict)
    transport: httpx.BaseTransport | None = None  # what is asked instead of the network

    def get(self, path: str, /, **query: Any) -> httpx.Response:
        with httpx.Client(transport=self.transport or httpx.HTTPTransport(), timeout=30) as client:
            return client.get(f"{self.base}{path}", params=query, headers=self.headers)

    def all(self, *, limit: int = 100, **query: Any) -> list[JSON]:
        """Every page of the list, one behind the other; a cursor that comes again would never end."""
        found: list[JSON] = []
        cursors: set[str] = set()
        while True:
            answer = self.get("/servers", limit=limit, **query)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            assert page["metadata"]["count"] == len(page["servers"]) <= limit
            found += page["servers"]
            cursor = page["metadata"].get("nextCursor")
            if not cursor:
                return found
            assert cursor not in cursors
            cursors.add(cursor)
            query["cursor"] = cursor

    def versions(self, name: str, **query: Any) -> list[JSON]:
        answer = self.get(f"/servers/{quote(name, safe='')}/versions", **query)
        assert answer.status_code == 200, answer.text
        rows: list[JSON] = answer.json()["servers"]
        return rows

    def version(self, name: str, version: str = "latest", **query: Any) -> httpx.Response:
        return self.get(f"/servers/{quote(name, safe='')}/versions/{quote(version, safe='')}", **query)


def keys(rows: list[JSON]) -> list[tuple[str, str]]:
    return [(row["server"]["name"], row["server"]["version"]) for row in rows]


def told(row: JSON) -> JSON:
    found: JSON = row["_meta"][OFFICIAL]
    return found
