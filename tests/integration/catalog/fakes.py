"""An MCP server that answers as a test tells it to, on a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOL = {"name": "echo", "description": "Says it again.", "inputSchema": {"type": "object"}}


@dataclass
class Seen:
    """One request as it arrived."""

    http_method: str
    headers: dict[str, str]
    message: dict[str, Any]

    @property
    def method(self) -> str:
        return self.message.get("method", "")

    @property
    def params(self) -> dict[str, Any]:
        return self.message.get("params", {})


@dataclass
class Answer:
    status: int = 200
    body: Any = None  # JSON value, or bytes as they are
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


Script = Callable[[Seen], Answer]


@dataclass
class FakeServer:
    url: str
    port: int
    seen: list[Seen]

    @property
    def allow(self) -> frozenset[tuple[str, int]]:
        return frozenset({("127.0.0.1", self.port)})

    @property
    def methods(self) -> list[str]:
        return [each.method or each.http_method for each in self.seen]


def result(seen: Seen, value: dict[str, Any], **headers: str) -> Answer:
    return Answer(200, {"jsonrpc": "2.0", "id": seen.message.get("id"), "result": value}, headers)


def error(seen: Seen, code: int, message: str, status: int = 200, **data: Any) -> Answer:
    body = {"code": code, "message": message, **({"data": data} if data else {})}
    return Answer(status, {"jsonrpc": "2.0", "id": seen.message.get("id"), "error": body})


def as_stream(answer: Answer, *before: dict[str, Any], line_end: str = "\r\n") -> Answer:
    """The same answer as a stream of events, after other messages and a comment."""
    lines = [": keep alive", ""]
    for message in (*before, answer.body):
        lines += ["event: message", f"data: {json.dumps(message, ensure_ascii=False)}", ""]
    return Answer(answer.status, (line_end.join(lines) + line_end).encode(), answer.headers, "text/event-stream")


def modern(tools: list[dict[str, Any]], **capabilities: Any) -> Script:
    """A stateless server of 2026-07-28 that checks what such a server checks."""

    def answer(seen: Seen) -> Answer:
        meta = seen.params.get("_meta", {})
        if seen.headers.get("mcp-method") != seen.method or seen.headers.get("mcp-protocol-version") != meta.get(
            "io.modelcontextprotocol/protocolVersion"
        ):
            return error(seen, -32020, "headers and body disagree", 400)
        if seen.method == "server/discover":
            described = {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}, **capabilities},
                "instructions": "Say hello.",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake", "version": "1.2.3"}},
            }
            return result(seen, described)
        if seen.method == "tools/list":
            return result(seen, {"tools": tools})
        return error(seen, -32601, "Method not found", 404)

    return answer


def legacy(tools: list[dict[str, Any]], session: str = "abc123") -> Script:
    """A server with sessions, as the 2025-11-25 SDKs are: it does not know what discovering is."""

    def answer(seen: Seen) -> Answer:
        if seen.http_method == "DELETE":
            return Answer(200)
        if seen.method == "initialize":
            described = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "old", "version": "0.9"},
            }
            return as_stream(result(seen, described, **{"mcp-session-id": session}))
        if seen.headers.get("mcp-session-id") != session:
            return error(seen, -32600, "Bad Request: Missing session ID", 400)
        if seen.method == "notifications/initialized":
            return Answer(202)
        if seen.method == "tools/list":
            progress = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
            return as_stream(result(seen, {"tools": tools}), progress)
        return error(seen, -32601, "Method not found")

    return answer


@contextmanager
def serving(script: Script) -> Iterator[FakeServer]:
    seen: list[Seen] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.append(Seen(self.command, headers, json.loads(body) if body else {}))
            self._send(script(seen[-1]))

        do_DELETE = do_POST  # noqa: N815 - the name that http.server looks for

        def _send(self, answer: Answer) -> None:
            raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            content = b"" if answer.body is None else raw
            self.send_response(answer.status)
            for name, value in {"content-type": answer.content_type, **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        port = server.server_address[1]
        yield FakeServer(f"http://127.0.0.1:{port}/mcp", port, seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
