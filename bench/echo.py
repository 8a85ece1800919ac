"""An MCP server that answers a tool call with the text that it was given: as an ASGI application, and as a bare socket server.

As little of a server as can be: it reads the message and answers under its id, in both eras of the protocol. It trusts its only
caller. Asked to, it shows the marketplace's token instead of the text, so that a benchmark can see that one was sent. The ASGI
form also holds streams: `subscriptions/listen` gets an event every ten seconds, or silence.
`uvicorn bench.echo:application` or `python -m bench.echo --fd N`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import socket
from typing import Any

import orjson
import uvloop

EVENT_EVERY_S = 10.0
TOKEN_HEADER = b"x-marketplace-token"
MODERN = "2026-07-28"
LEGACY = "2025-06-18"
TOOL = {
    "name": "echo",
    "description": "Answers what it is asked.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    "annotations": {"readOnlyHint": True},
}
_SERVER = {"name": "bench", "version": "1.0.0"}
_CAPABILITIES = {"tools": {"listChanged": True}, "prompts": {"listChanged": True}}
_CACHE = {"resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "public"}
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOKEN = re.compile(rb"\r\n" + TOKEN_HEADER + rb": *([^\r]*)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def answer(message: dict[str, Any], token: bytes = b"") -> bytes:
    """The reply to a tools/call: its argument `text` as content, or the token that came with it when `show` is set."""
    arguments = message["params"]["arguments"]
    text = token.decode() if "show" in arguments else arguments["text"]
    result = {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": False}
    return orjson.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})


def reply(message: dict[str, Any], token: bytes = b"") -> bytes:
    """The reply to any message; empty for one that none is due to."""
    method, number = message.get("method"), message.get("id")
    if method == "tools/call":
        return answer(message, token)
    if number is None or method is None:
        return b""
    return orjson.dumps({"jsonrpc": "2.0", "id": number, **_outcome(method, message.get("params") or {})})


def _outcome(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            version = params.get("protocolVersion", LEGACY)
            return {"result": {"protocolVersion": version, "capabilities": _CAPABILITIES, "serverInfo": _SERVER}}
        case "server/discover":
            versions = {"supportedVersions": [MODERN], "capabilities": _CAPABILITIES, "serverInfo": _SERVER}
            return {"result": {**versions, **_CACHE}}
        case "tools/list":
            return {"result": {"tools": [TOOL], **_CACHE}}
        case "prompts/list":
            return {"result": {"prompts": [], **_CACHE}}
        case "ping":
            return {"result": {}}
        case _:
            return {"error": {"code": -32601, "message": "There is no such method here."}}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI form."""
    if scope.get("method", "POST") != "POST":
        await _send(send, 405, b"")
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    message = orjson.loads(body)
    if message.get("method") == "subscriptions/listen":
        await _listen(message, receive, send)
        return
    token = next((value for name, value in scope.get("headers", ()) if name == TOKEN_HEADER), b"")
    content = reply(message, token)
    await _send(send, 200 if content else 202, content)


async def _send(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _listen(message: dict[str, Any], receive: Any, send: Any) -> None:
    """Acknowledge, then tell of changed tools for as long as somebody listens; who asked for prompts hears nothing."""
    wanted = message["params"]["notifications"]
    meta = {"_meta": {_SUBSCRIPTION: message["id"]}}
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await _tell(send, "subscriptions/acknowledged", {**meta, "notifications": wanted})
    leaves = asyncio.ensure_future(receive())
    while not (await asyncio.wait([leaves], timeout=EVENT_EVERY_S))[0]:
        if wanted.get("toolsListChanged"):
            await _tell(send, "tools/list_changed", meta)


async def _tell(send: Any, what: str, params: dict[str, Any]) -> None:
    event = orjson.dumps({"jsonrpc": "2.0", "method": f"notifications/{what}", "params": params})
    await send({"type": "http.response.body", "body": b"data: %b\n\n" % event, "more_body": True})


class Echo(asyncio.Protocol):
    """The bare form."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._held + data if self._held else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(data, 0, end)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(data) < size:
                break
            token = _TOKEN.search(data, 0, end)
            body = reply(orjson.loads(data[end + 4 : size]), token[1] if token else b"")
            self._transport.write(_HEAD % (len(body), body))
            data = data[size:]
        self._held = data


async def serve(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Echo, sock=listener)
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    uvloop.run(serve(socket.socket(fileno=parser.parse_args().fd)))


if __name__ == "__main__":
    main()
