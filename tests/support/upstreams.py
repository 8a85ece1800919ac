"""Servers that misbehave on request: the path of the URL names how. Raw sockets, so that even HTTP itself can be wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Writer = asyncio.StreamWriter


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.body) if self.body else {}


@dataclass
class Upstream:
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    disconnects: int = 0  # connections that the other side closed while an answer was owed

    def url(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.port}/{behaviour}"


def result(request: Received, **more: Any) -> bytes:
    content = [{"type": "text", "text": "done"}]
    body = {"content": content, "isError": False, "resultType": "complete", **more}
    return json.dumps({"jsonrpc": "2.0", "id": request.message.get("id"), "result": body}).encode()


def http(status: int, body: bytes, content_type: str = "application/json", *extra: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", f"content-length: {len(body)}", *extra]
    return "\r\n".join([*lines, "", ""]).encode() + body


def sse_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: bytes) -> bytes:
    return chunk(b"event: message\r\ndata: " + data + b"\r\n\r\n")


_PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'


async def _ok(request: Received, writer: Writer) -> None:
    writer.write(http(200, result(request)))


_SEEN: set[str] = set()


async def _flaky(request: Received, writer: Writer) -> None:
    """503 to the first request with a nonce, an answer to every other."""
    nonce = str(request.message["params"].get("arguments", {}).get("nonce"))
    if nonce in _SEEN:
        writer.write(http(200, result(request)))
    else:
        _SEEN.add(nonce)
        writer.write(http(503, b"", "text/plain"))


_TIRED: weakref.WeakSet[Writer] = weakref.WeakSet()


async def _tired(request: Received, writer: Writer) -> None:
    """An answer to the first request of a connection; the next one finds it closing."""
    if writer in _TIRED:
        writer.close()
    else:
        _TIRED.add(writer)
        writer.write(http(200, result(request)))


async def _unwell(request: Received, writer: Writer) -> None:
    writer.write(http(500, b"", "text/plain"))


async def _later(request: Received, writer: Writer) -> None:
    writer.write(http(429, b"", "text/plain", "retry-after: 7"))


async def _tool_error(request: Received, writer: Writer) -> None:
    writer.write(http(200, result(request, isError=True)))


async def _input_required(request: Received, writer: Writer) -> None:
    writer.write(http(200, result(request, resultType="input_required")))


async def _rpc_error(request: Received, writer: Writer) -> None:
    error = {"jsonrpc": "2.0", "id": request.message["id"], "error": {"code": -32602, "message": "bad arguments"}}
    writer.write(http(400, json.dumps(error).encode()))


async def _hang(request: Received, writer: Writer) -> None:
    await asyncio.sleep(60)


async def _reset(request: Received, writer: Writer) -> None:
    _reset_socket(writer)


async def _malformed(request: Received, writer: Writer) -> None:
    writer.write(http(200, b'{"jsonrpc":"2.0","id":'))


async def _html(request: Received, writer: Writer) -> None:
    writer.write(http(200, b"<html>", "text/html"))


async def _wrong_id(request: Received, writer: Writer) -> None:
    writer.write(http(200, json.dumps({"jsonrpc": "2.0", "id": "other", "result": {}}).encode()))


async def _text_id(request: Received, writer: Writer) -> None:
    writer.write(http(200, json.dumps({"jsonrpc": "2.0", "id": str(request.message["id"]), "result": {}}).encode()))


async def _accepted(request: Received, writer: Writer) -> None:
    writer.write(http(202, b""))


async def _redirect(request: Received, writer: Writer) -> None:
    writer.write(http(307, b"", "text/plain", "location: http://127.0.0.1:9/"))


async def _unauthorized(request: Received, writer: Writer) -> None:
    writer.write(http(401, b"", "text/plain", 'www-authenticate: Bearer realm="theirs"'))


async def _not_allowed(request: Received, writer: Writer) -> None:
    writer.write(http(405, b"", "text/plain"))


async def _huge(request: Received, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n")
    for _ in range(200):
        writer.write(b" " * 100_000)
        await writer.drain()


async def _huge_event(request: Received, writer: Writer) -> None:
    writer.write(sse_head() + chunk(b"data: "))
    for _ in range(200):
        writer.write(chunk(b"x" * 100_000))
        await writer.drain()


async def _huge_headers(request: Received, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(2000):
        writer.write(b"x-%d: %b\r\n" % (number, b"y" * 200))
        await writer.drain()
    await asyncio.sleep(5)


async def _compressed(request: Received, writer: Writer) -> None:
    writer.write(http(200, b"\x1f\x8b\x08", "application/json", "content-encoding: gzip"))


async def _two_replies(request: Received, writer: Writer) -> None:
    writer.write(http(200, result(request)) + http(200, b'{"jsonrpc":"2.0","id":1,"result":{"content":"stolen"}}'))


async def _not_http(request: Received, writer: Writer) -> None:
    writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")


async def _stream(request: Received, writer: Writer) -> None:
    writer.write(sse_head() + chunk(b": ping\r\n\r\n") + event(_PROGRESS) + event(result(request)) + b"0\r\n\r\n")


def ornate(answer: bytes) -> list[bytes]:
    """Events with all that the format allows: a priming event, retry, comments, each kind of line end, 1 MiB of data."""
    note = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"%b"}}'
    return [
        b"id: 1\r\nretry: 100\r\ndata:\r\n\r\n",
        b": a comment\r\n\r\n",
        b"event: message\ndata: " + note % (b"x" * 1024 * 1024) + b"\n\n",
        b"data:" + note % b"y" + b"\r\r",
        b"id: 2\r\nevent: message\r\ndata: " + answer + b"\r\n\r\n",
    ]


async def _ornate_stream(request: Received, writer: Writer) -> None:
    writer.write(sse_head())
    for each in ornate(result(request)):
        writer.write(chunk(each))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def _split_stream(request: Received, writer: Writer) -> None:
    """An answer in several data lines, cut into single bytes."""
    half = result(request)
    data = b"event: message\ndata: " + half.replace(b', "result"', b',\ndata: "result"') + b"\n\n"
    writer.write(sse_head())
    for byte in data:
        writer.write(chunk(bytes([byte])))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def _stream_other_id(request: Received, writer: Writer) -> None:
    foreign = b'{"jsonrpc":"2.0","id":"somebody-else","result":{"secret":1}}'
    writer.write(sse_head() + event(foreign) + event(result(request)) + b"0\r\n\r\n")


async def _stream_reset(request: Received, writer: Writer) -> None:
    writer.write(sse_head() + event(_PROGRESS))
    await writer.drain()
    await asyncio.sleep(0.05)
    _reset_socket(writer)


async def _stream_ends(request: Received, writer: Writer) -> None:
    writer.write(sse_head() + event(_PROGRESS) + b"0\r\n\r\n")


async def _stream_garbage(request: Received, writer: Writer) -> None:
    writer.write(sse_head() + chunk(b"data: {not json\n\n"))
    await asyncio.sleep(5)


async def _stream_hangs(request: Received, writer: Writer) -> None:
    writer.write(sse_head() + event(_PROGRESS))
    await writer.drain()
    await asyncio.sleep(60)


async def _stream_quiet(request: Received, writer: Writer) -> None:
    """Progress, a silence of half a second, the answer."""
    writer.write(sse_head() + event(_PROGRESS))
    await writer.drain()
    await asyncio.sleep(0.5)
    writer.write(event(result(request)) + b"0\r\n\r\n")


async def _slow_event(request: Received, writer: Writer) -> None:
    """One event in pieces, with pauses that add up to more than the gateway waits for a sign of life."""
    answer = b"data: " + result(request) + b"\n\n"
    writer.write(sse_head())
    for piece in (answer[:10], answer[10:20], answer[20:30], answer[30:]):
        await asyncio.sleep(0.7)
        writer.write(chunk(piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def _stream_flood(request: Received, writer: Writer) -> None:
    """More progress than any socket buffers."""
    writer.write(sse_head())
    with contextlib.suppress(ConnectionError):
        for _ in range(200_000):
            writer.write(event(_PROGRESS.replace(b"}}", b',"message":"%b"}}' % (b"x" * 4000))))
            await writer.drain()


async def _stream_unasked(request: Received, writer: Writer) -> None:
    """What a GET stream carries, and an answer that does not belong there."""
    note = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}'
    writer.write(sse_head() + event(note) + event(b'{"jsonrpc":"2.0","id":1,"result":{}}') + b"0\r\n\r\n")


async def _handshake_only(request: Received, writer: Writer) -> None:
    """A server of an older revision: a session, no `_meta`, an error with an id of its own for what it does not know."""
    session, method = request.header("mcp-session-id"), request.message.get("method")
    if method == "initialize":
        info = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "old", "version": "1"}}
        answer = json.dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": info}).encode()
        writer.write(http(200, answer, "application/json", "mcp-session-id: old-1"))
    elif session != "old-1":
        error = {"code": -32600, "message": "Bad Request: Missing session ID"}
        writer.write(http(400, json.dumps({"jsonrpc": "2.0", "id": "server-error", "error": error}).encode()))
    elif method == "tools/call":
        writer.write(http(200, result(request)))
    else:
        writer.write(http(202 if method else 200, b""))


async def _slow_refusal(request: Received, writer: Writer) -> None:
    """The same, and what it does not know it refuses after 0.3 s."""
    if request.header("mcp-session-id") is None and request.message.get("method") != "initialize":
        await asyncio.sleep(0.3)
    await _handshake_only(request, writer)


BEHAVIOURS: dict[str, Callable[[Received, Writer], Awaitable[None]]] = {
    name[1:].replace("_", "-"): function
    for name, function in list(globals().items())
    if name.startswith("_") and asyncio.iscoroutinefunction(function)
}


def _reset_socket(writer: Writer) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def misbehaving_upstream() -> Iterator[Upstream]:
    """One server with every behaviour, on a free port, in a thread."""
    upstream = Upstream()
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        upstream.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            early = b""
            while True:
                request = await _read(reader, early)
                upstream.requests.append(request)
                early = await _behave(upstream, reader, writer, request)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream.port = server.sockets[0].getsockname()[1]
        ready.set()
        await server.serve_forever()

    def run() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for other in asyncio.all_tasks(loop):
            other.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    task = loop.create_task(main())
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)


async def _behave(upstream: Upstream, reader: asyncio.StreamReader, writer: Writer, request: Received) -> bytes:
    """Behave as the path says, unless the client leaves first; what came of the next request meanwhile."""
    behaviour = BEHAVIOURS[request.path.partition("?")[0].strip("/")]
    acting = asyncio.ensure_future(behaviour(request, writer))
    # A well-behaved client sends nothing while it waits, so a byte or an end here is its end.
    leaving = asyncio.ensure_future(reader.read(1))
    await asyncio.wait({acting, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if not acting.done():
        upstream.disconnects += 1
        acting.cancel()
        raise ConnectionResetError
    early = leaving.result() if leaving.done() else b""
    leaving.cancel()
    await asyncio.wait({leaving})
    acting.result()
    await writer.drain()
    return early


async def _read(reader: asyncio.StreamReader, early: bytes) -> Received:
    head = early + await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(method, path, headers, await reader.readexactly(length))
