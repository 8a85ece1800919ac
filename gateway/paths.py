"""Which paths are the gateway's, and which server each names.

`/{prefix}/mcp` is another spelling of `/mcp/{prefix}`: agents that were configured for MCP Runtime know servers by it. It
shares its first segment with pages, so the composition root says which segments are taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

INVOKE = "/v1/invoke"
EXCHANGE = "/v1/token"
METADATA = "/.well-known/oauth-protected-resource"
AGGREGATE = "/mcp"
_MCP = "/mcp/"
# A document about a server, which Django serves.
_CARD = "/server-card"
_ALIAS = re.compile(r"/([a-z0-9][a-z0-9._-]{0,127})/mcp\Z")
_MAX_KEPT = 256
# First segments of our own endpoints, those to come included.
_OWN = frozenset({".well-known", "api", "mcp", "v0.1", "v1"})


@dataclass(frozen=True, slots=True)
class Paths:
    taken: frozenset[str] = frozenset()  # first segments that somebody else serves

    def is_ours(self, path: str) -> bool:
        return self.server_of(path) is not None or path in {INVOKE, EXCHANGE} or path.startswith(METADATA)

    def server_of(self, path: str) -> str | None:
        """The name of the server, unchecked, empty for all servers as one; None when the path is no MCP endpoint."""
        return _server_of(path, self.taken) if len(path) <= _MAX_KEPT else _server_of.__wrapped__(path, self.taken)


@lru_cache(maxsize=2048)
def _server_of(path: str, taken: frozenset[str]) -> str | None:
    if path == AGGREGATE:
        return ""
    if path.startswith(_MCP) and not (path.endswith(_CARD) and len(path) > len(_MCP) + len(_CARD)):
        return path[len(_MCP) :]
    alias = _ALIAS.match(path)
    return None if alias is None or alias[1] in taken or alias[1] in _OWN else alias[1]
