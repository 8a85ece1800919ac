"""What a token may be used for (RFC 8707), and how a caller learns where to get one (RFC 9728, RFC 6750).

The resource of one server is its address, in either spelling; the resource of everything is our origin, or `/mcp`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.context import CallContext
from gateway.mcp.errors import RefusedError
from gateway.paths import METADATA, Paths

SCOPE = "invoke"


@dataclass(frozen=True, slots=True)
class Audiences:
    public_url: str
    paths: Paths
    _everything: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        everything = frozenset({"", "/mcp", "/v1/invoke"})
        object.__setattr__(self, "_everything", everything)

    def servers_of(self, audiences: Iterable[str]) -> frozenset[str] | None:
        """The servers that these resources name; None for every server. An empty answer: none of them is ours."""
        found = set()
        for audience in audiences:
            path = self._path(audience)
            if path is None:
                continue
            if path in self._everything:
                return None
            if name := self.paths.server_of(path):
                found.add(name)
        return frozenset(found)

    def metadata(self, path: str) -> dict[str, Any] | None:
        """The protected-resource metadata that lies at this path; None when it is of no resource of ours."""
        if not path.startswith(METADATA):
            return None
        resource = path.removeprefix(METADATA).rstrip("/")
        if resource not in {"", "/mcp", "/v1/invoke"} and not self.paths.server_of(resource):
            return None
        return {
            "resource": self.public_url + resource,
            "resource_name": "MCP Marketplace",
            "authorization_servers": [self.public_url],
            "scopes_supported": [SCOPE],
            "bearer_methods_supported": ["header"],
            "resource_documentation": f"{self.public_url}/",
        }

    def challenge(self, call: CallContext, refusal: RefusedError) -> bytes:
        """The `WWW-Authenticate` that goes with a refusal; empty when another credential would not help."""
        if refusal.status != 401 and refusal.error_code != "access.scope_missing":
            return b""
        path = call.scope.get("path", "")
        resource = path if self.paths.server_of(path) or path == "/mcp" else ""
        parts = [f'resource_metadata="{self.public_url}{METADATA}{_quotable(resource)}"', f'scope="{SCOPE}"']
        if refusal.status == 403:
            parts.insert(0, 'error="insufficient_scope"')
        elif b"authorization" in call.headers or b"x-api-key" in call.headers:
            parts.insert(0, 'error="invalid_token"')
        return ('Bearer realm="mcp-marketplace", ' + ", ".join(parts)).encode("latin-1")

    def _path(self, resource: str) -> str | None:
        if resource != self.public_url and not resource.startswith(self.public_url + "/"):
            return None
        return resource[len(self.public_url) :].rstrip("/")


def _quotable(path: str) -> str:
    """A path as it may stand in a quoted string of a header."""
    return path if path.isascii() and path.isprintable() and not set(path) & set('"\\') else ""
