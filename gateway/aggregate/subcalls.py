"""Closed: what the endpoint itself asks of a server is asked as its caller, with the credentials of a call to that server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.context import CallContext, Caller
from gateway.entries import ServerEntry
from gateway.mcp import versions
from gateway.review import Review
from gateway.watch import Watch


class SubCalls:
    """Contexts of requests that no client sent: they have no row of their own, because the client's request has one."""

    def __init__(self, watch: Watch, ready: Callable[[CallContext], Awaitable[None]], review: Review) -> None:
        self._watch, self.ready, self.review = watch, ready, review

    def open(self, caller: Caller, server: ServerEntry) -> CallContext:
        """Not decided yet. `ready` prepares the credentials that the server wants; it raises RefusedError."""
        call = CallContext(server.slug, "mcp", self._watch.request())
        call.caller, call.server, call.modern, call.url = caller, server, True, server.url
        call.protocol = versions.FIRST_MODERN.decode()
        return call
