"""How the gateway speaks to servers itself, when it does not simply pass bytes on.

Whatever a server speaks, it is asked in the terms of the modern revision (2026-07-28): one request with its `_meta`,
notifications, one answer. What an older server does differently is its peer's business.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.context import CallContext

Json = dict[str, Any]


@dataclass(slots=True)
class Ask:
    """One request to a server in modern terms."""

    request_id: Any
    method: str
    params: Json  # with the modern `_meta`
    headers: bytes = b""  # more header lines, each with its line end: `Mcp-Param-*`


class Peer(Protocol):
    def ask(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        """Notifications as they come, then the answer with `result` or `error` and the request's own id.

        Closing the generator cancels the request at the server. Raises RefusedError, ServerBusyError, UpstreamBrokenError, an
        egress error, or WatchedTimeoutError.
        """
