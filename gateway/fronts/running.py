"""Open: a cancellation that finds nothing under way does nothing.

Requests of our own sessions that are under way, so that `notifications/cancelled` can end one from whichever process it reaches.
A client that merely goes away cancels nothing in the older revisions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gateway.bus import Bus
from gateway.context import CallContext

_KIND = "cancelled"


class Running:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._calls: dict[tuple[str, str], CallContext] = {}
        bus.hear(_KIND, self._hear)

    @contextlib.contextmanager
    def noting(self, session: str, call: CallContext) -> Iterator[None]:
        """While a request is under way. Of two with one id the later one can be cancelled."""
        key = (session, repr(call.request_id))
        self._calls[key] = call
        try:
            yield
        finally:
            if self._calls.get(key) is call:
                del self._calls[key]

    def cancel(self, session: str, request_id: Any) -> None:
        """Wherever the request runs."""
        if isinstance(request_id, str | int):
            self._bus.tell(_KIND, {"session": session, "request": repr(request_id)})

    def _hear(self, body: dict[str, Any]) -> None:
        call = self._calls.get((body["session"], body["request"]))
        if call is not None:
            call.watched.cancel()
