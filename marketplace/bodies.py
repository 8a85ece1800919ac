"""Bounds on what pages and API take in: Django reads a body to its end, onto the disk, before it asks who sends it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Message, Receive, Send], Awaitable[None]]


class Bounded:
    """An ASGI application whose requests have bodies of at most so many bytes, by path; more is answered 413.

    A declared length is believed when it is too large; what is sent is counted in any case.
    """

    def __init__(self, application: Handler, bytes_max: int, exceptions: Mapping[str, int]) -> None:
        self._application, self._bytes_max, self._exceptions = application, bytes_max, exceptions

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        limit = self._exceptions.get(scope["path"], self._bytes_max)
        body = _Counted(receive, limit)
        if _declared(scope) <= limit:
            await self._application(scope, body.receive, send)
        else:
            body.is_over = True
        if body.is_over:
            await _refuse(send, scope["path"], limit)


class _Counted:
    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left, self.is_over = receive, limit, False

    async def receive(self) -> Message:
        """The next part; once there is too much, what an application hears when its client has left."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        self.is_over = self.is_over or self._left < 0
        return {"type": "http.disconnect"} if self.is_over else message


def _declared(scope: Message) -> int:
    """What the header says; nothing where it says no number, which is left to whoever parses the request."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _refuse(send: Send, path: str, limit: int) -> None:
    said = f"A request to this address may be at most {limit // 1024} KiB long. Send less at once."
    kind = b"text/plain; charset=utf-8"
    if path.startswith("/api/"):
        said = json.dumps({"code": "core.too_large", "title": said, "status": 413})
        kind = b"application/problem+json"
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(said)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),  # what else was sent is not read
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": said.encode()})
