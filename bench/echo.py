"""An MCP server that answers a tool call with the text that it was given: as an ASGI application, and as a bare socket server.

As little of a server as can be: it reads the message and answers under its id. It trusts its only caller.
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

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def answer(message: dict[str, Any]) -> bytes:
    """The reply to a tools/call: its argument `text` as content."""
    content = [{"type": "text", "text": message["params"]["arguments"]["text"]}]
    result = {"resultType": "complete", "content": content, "isError": False}
    return orjson.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI form."""
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    reply = answer(orjson.loads(body))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(reply))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": reply})


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
            body = answer(orjson.loads(data[end + 4 : size]))
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
