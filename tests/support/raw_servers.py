"""A modern server whose answers are given byte for byte, and which counts what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

Make = Callable[[dict[str, Any]], bytes]


@dataclass
class RawServer:
    """An ASGI app: `results` holds the text of the result for each method, or what makes it from the request."""

    results: dict[str, bytes | Make] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    notes: dict[str, list[bytes]] = field(default_factory=dict)  # events before the answer, which then is a stream
    error_status: int = 0  # every request is answered with this

    def count(self, method: str) -> int:
        return sum(message.get("method") == method for message in self.asked)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        message = json.loads(body) if body else {}
        self.asked.append(message)
        self.headers.append({name.decode(): value.decode("latin-1") for name, value in scope["headers"]})
        await self._answer(message, send)

    async def _answer(self, message: dict[str, Any], send: Any) -> None:
        status, answer = 200, self.answer_to(message)
        if self.error_status:
            status, answer = self.error_status, b"{}"
        elif b'"error"' in answer[:60]:
            status = 404
        notes = self.notes.get(str(message.get("method")))
        kind = b"application/json" if notes is None else b"text/event-stream"
        if notes is not None:
            lines = [note.replace(b"\n", b"\r\ndata: ") for note in [*notes, answer]]
            answer = b"".join(b"event: message\r\ndata: %b\r\n\r\n" % line for line in lines)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": answer})

    def answer_to(self, message: dict[str, Any]) -> bytes:
        made = self.results.get(str(message.get("method")))
        request_id = json.dumps(message.get("id")).encode()
        if made is None:
            error = b'{"code": -32601, "message": "Method not found"}'
            return b'{"error": %b, "jsonrpc": "2.0", "id": %b}' % (error, request_id)
        result = made if isinstance(made, bytes) else made(message)
        return b'{"jsonrpc": "2.0",\n "result": %b, "id": %b}' % (result, request_id)


def result_text(response: httpx.Response) -> bytes:
    """The text of the result in an answer of `RawServer` that came through unchanged but for the id."""
    return response.content.partition(b'"result": ')[2].rpartition(b', "id": ')[0]
