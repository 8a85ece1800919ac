"""A server of the handshake revisions, written by hand: Streamable HTTP at `/mcp` (2025-11-25), HTTP+SSE at `/sse` (2024-11-05).

It has everything that such a server may have, keeps what it was told, and can lose its sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

Json = dict[str, Any]
Say = Callable[[Json], Awaitable[None]]

BIG = 123456789012345678901234567890
WATCHED = "test://watched"


@dataclass
class OldSession:
    session_id: str
    capabilities: Json
    stream: asyncio.Queue[Json] = field(default_factory=asyncio.Queue)
    waiting: dict[int, asyncio.Future[Json]] = field(default_factory=dict)
    tasks: dict[Any, asyncio.Task[None]] = field(default_factory=dict)
    level: str = "debug"
    watched: set[str] = field(default_factory=set)


@dataclass
class OldServer:
    """An ASGI app."""

    version: str = "2025-11-25"
    has_streamable: bool = True
    has_get: bool = True
    refuses_ids: bool = True  # a modern request is refused for its missing session, as SDKs of the time do
    received: list[tuple[str, Json]] = field(default_factory=list)  # session id, message
    sessions: dict[str, OldSession] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    endpoint: str = "/messages?session={}"
    numbers: int = 0
    visits: int = 0
    dropped: Json = field(default_factory=dict)
    unwell: int = 0  # so many of the next requests within a session are answered 503

    def methods(self) -> list[str]:
        return [message["method"] for _, message in self.received if "method" in message]

    def lose_sessions(self) -> None:
        self.sessions.clear()

    # ASGI

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        self.headers.append(headers)
        match scope["method"], scope["path"]:
            case "POST", "/mcp" if self.has_streamable:
                await self._post(headers, json.loads(await _body(receive)), send)
            case "GET", "/mcp" if self.has_streamable and self.has_get:
                await self._get(headers, receive, send)
            case "DELETE", "/mcp" if self.has_streamable:
                session = self.sessions.pop(headers.get("mcp-session-id", ""), None)
                self.ended.append(session.session_id if session else "")
                await _plain(send, 200 if session else 404)
            case "GET", "/sse":
                await self._sse(receive, send)
            case "POST", "/messages":
                session = self.sessions.get(parse_qs(scope["query_string"].decode()).get("session", [""])[0])
                await self._post_aside(session, json.loads(await _body(receive)), send)
            case _:
                await _plain(send, 405)

    async def _post(self, headers: dict[str, str], message: Json, send: Any) -> None:
        session = self.sessions.get(headers.get("mcp-session-id", ""))
        more = []
        if message.get("method") == "initialize":
            session = self._open(message)
            more = [(b"mcp-session-id", session.session_id.encode())]
        if session is None:
            known = "mcp-session-id" in headers
            error = {"code": -32600, "message": "Session not found" if known else "Bad Request: Missing session ID"}
            body = json.dumps({"jsonrpc": "2.0", "id": "server-error", "error": error}).encode()
            await _plain(send, 404 if known else 400, body)
            return
        self.received.append((session.session_id, message))
        if "method" not in message or "id" not in message:
            self._note(session, message)
            await _plain(send, 202)
            return
        if self.unwell and not more:
            self.unwell -= 1
            await _plain(send, 503)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [_EVENTS, *more]})
        if message.get("params", {}).get("name") == "drop":
            # The answer is given to whoever asks for what came after this event.
            await send({"type": "http.response.body", "body": b"id: e-1\r\nretry: 10\r\ndata:\r\n\r\n"})
            self.dropped = {"jsonrpc": "2.0", "id": message["id"], "result": text("after all")}
            return

        async def say(said: Json) -> None:
            await send({"type": "http.response.body", "body": _event(said), "more_body": True})

        await self._run(session, message, say)
        await send({"type": "http.response.body", "body": b""})

    async def _get(self, headers: dict[str, str], receive: Any, send: Any) -> None:
        session = self.sessions.get(headers.get("mcp-session-id", ""))
        if session is None:
            await _plain(send, 404)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [_EVENTS]})
        if headers.get("last-event-id") == "e-1":
            await send({"type": "http.response.body", "body": _event(self.dropped)})
            return
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        await self._stream(session, receive, send)

    async def _sse(self, receive: Any, send: Any) -> None:
        self.numbers += 1
        session = OldSession(f"sse-{self.numbers}", {})
        self.sessions[session.session_id] = session
        await send({"type": "http.response.start", "status": 200, "headers": [_EVENTS]})
        address = self.endpoint.format(session.session_id)
        await send(
            {
                "type": "http.response.body",
                "body": f"event: endpoint\r\ndata: {address}\r\n\r\n".encode(),
                "more_body": True,
            }
        )
        try:
            await self._stream(session, receive, send)
        finally:
            self.sessions.pop(session.session_id, None)
            self.ended.append(session.session_id)

    async def _stream(self, session: OldSession, receive: Any, send: Any) -> None:
        async def pump() -> None:
            while True:
                said = await session.stream.get()
                await send({"type": "http.response.body", "body": _event(said), "more_body": True})

        pumping = asyncio.ensure_future(pump())
        while (await receive())["type"] != "http.disconnect":
            pass
        pumping.cancel()

    async def _post_aside(self, session: OldSession | None, message: Json, send: Any) -> None:
        if session is None:
            await _plain(send, 404)
            return
        self.received.append((session.session_id, message))
        await _plain(send, 202)
        if message.get("method") == "initialize":
            session.capabilities = message["params"]["capabilities"]
        if "method" in message and "id" in message:
            running = asyncio.ensure_future(self._run(session, message, session.stream.put))
            session.tasks[("run", message["id"])] = running
        else:
            self._note(session, message)

    # What it does

    def _open(self, message: Json) -> OldSession:
        self.numbers += 1
        session = OldSession(f"old-{self.numbers}", message["params"]["capabilities"])
        self.sessions[session.session_id] = session
        return session

    def _note(self, session: OldSession, message: Json) -> None:
        if "method" not in message:
            waiting = session.waiting.pop(message["id"], None)
            if waiting is not None:
                waiting.set_result(message)
        elif message["method"] == "notifications/cancelled":
            task = session.tasks.get(message["params"]["requestId"])
            if task is not None:
                task.cancel()

    async def _run(self, session: OldSession, message: Json, say: Say) -> None:
        task = session.tasks[message["id"]] = asyncio.ensure_future(self._answer(session, message, say))
        with contextlib.suppress(asyncio.CancelledError):
            await say({"jsonrpc": "2.0", "id": message["id"], **await task})

    async def _answer(self, session: OldSession, message: Json, say: Say) -> Json:
        method, params = message["method"], message.get("params", {})
        handler = getattr(self, "on_" + method.replace("/", "_"), None)
        if handler is None:
            return {"error": {"code": -32601, "message": "Method not found"}}
        return await handler(session, params, say)

    async def ask(self, session: OldSession, say: Say, method: str, params: Json) -> Json:
        self.numbers += 1
        number = self.numbers
        waiting = session.waiting[number] = asyncio.get_running_loop().create_future()
        await say({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return await waiting

    async def on_initialize(self, session: OldSession, params: Json, say: Say) -> Json:
        capabilities = {
            "tools": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": False},
            "prompts": {},
            "logging": {},
            "completions": {},
            "tasks": {"list": {}},
        }
        info = {"name": "old", "version": "1", "x-extra": True}
        return {
            "result": {
                "protocolVersion": self.version,
                "capabilities": capabilities,
                "serverInfo": info,
                "instructions": "Be kind.",
            }
        }

    async def on_tools_list(self, session: OldSession, params: Json, say: Say) -> Json:
        page = int(params.get("cursor", "0"))
        tools = [
            {"name": name, "inputSchema": {"type": "object", "$defs": {"x": {}}}, "x-unknown": [1, None]}
            for name in TOOLS[page * 3 : page * 3 + 3]
        ]
        more = {"nextCursor": str(page + 1)} if TOOLS[(page + 1) * 3 :] else {}
        return {"result": {"tools": tools, **more}}

    async def on_resources_list(self, session: OldSession, params: Json, say: Say) -> Json:
        return {"result": {"resources": [{"uri": WATCHED, "name": "watched"}]}}

    async def on_resources_templates_list(self, session: OldSession, params: Json, say: Say) -> Json:
        return {"result": {"resourceTemplates": [{"uriTemplate": "test://{id}", "name": "any"}]}}

    async def on_resources_read(self, session: OldSession, params: Json, say: Say) -> Json:
        if params["uri"] != WATCHED:
            return {"error": {"code": -32002, "message": "Resource not found"}}
        return {"result": {"contents": [{"uri": WATCHED, "text": "seen"}]}}

    async def on_resources_subscribe(self, session: OldSession, params: Json, say: Say) -> Json:
        session.watched.add(params["uri"])
        return {"result": {}}

    async def on_prompts_list(self, session: OldSession, params: Json, say: Say) -> Json:
        return {"result": {"prompts": [{"name": "greet"}]}}

    async def on_prompts_get(self, session: OldSession, params: Json, say: Say) -> Json:
        return {"result": {"messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}]}}

    async def on_completion_complete(self, session: OldSession, params: Json, say: Say) -> Json:
        return {"result": {"completion": {"values": [params["argument"]["value"] + "!"]}}}

    async def on_logging_setLevel(self, session: OldSession, params: Json, say: Say) -> Json:  # noqa: N802
        session.level = params["level"]
        return {"result": {}}

    async def on_tools_call(self, session: OldSession, params: Json, say: Say) -> Json:
        tool = getattr(self, "tool_" + params["name"])
        if params["name"] == "visit" and not self.visits:
            self.visits = 1
            visit = {"mode": "url", "url": "https://example.com/", "elicitationId": "e1", "message": "Sign in."}
            return {"error": {"code": -32042, "message": "Sign in first.", "data": {"elicitations": [visit]}}}
        return {"result": await tool(session, params, say)}

    async def tool_echo(self, session: OldSession, params: Json, say: Say) -> Json:
        return text(json.dumps(params["arguments"]))

    async def tool_number(self, session: OldSession, params: Json, say: Say) -> Json:
        return {**text("big"), "structuredContent": {"given": params["arguments"].get("n"), "own": BIG}}

    async def tool_slow(self, session: OldSession, params: Json, say: Say) -> Json:
        token = params.get("_meta", {}).get("progressToken")
        for step in range(params["arguments"]["steps"]):
            if token is not None:
                note = {"progressToken": token, "progress": step + 1, "total": params["arguments"]["steps"]}
                await say({"jsonrpc": "2.0", "method": "notifications/progress", "params": note})
            await asyncio.sleep(0.02)
        return text("done")

    async def tool_log(self, session: OldSession, params: Json, say: Say) -> Json:
        for level in ("debug", "info", "warning", "error"):
            note = {"level": level, "data": f"at {level}"}
            await say({"jsonrpc": "2.0", "method": "notifications/message", "params": note})
        return text(session.level)

    async def tool_ask(self, session: OldSession, params: Json, say: Say) -> Json:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        asked = {"mode": "form", "message": "Who are you?", "requestedSchema": schema}
        answer = await self.ask(session, say, "elicitation/create", asked)
        return text(json.dumps(answer.get("result", answer.get("error"))))

    async def tool_ask_aside(self, session: OldSession, params: Json, say: Say) -> Json:
        return await self.tool_ask(session, params, session.stream.put)

    async def tool_ask_both(self, session: OldSession, params: Json, say: Say) -> Json:
        message = {"role": "user", "content": {"type": "text", "text": "Say hi"}}
        answers = await asyncio.gather(
            self.ask(session, say, "sampling/createMessage", {"messages": [message], "maxTokens": 10}),
            self.ask(session, say, "roots/list", {}),
        )
        return text(json.dumps([answer.get("result", answer.get("error")) for answer in answers]))

    async def tool_visit(self, session: OldSession, params: Json, say: Say) -> Json:
        """Wants its user to open a page first."""
        self.visits += 1
        return text("welcome back")

    async def tool_change_mine(self, session: OldSession, params: Json, say: Say) -> Json:
        """Only the session of the call hears of it, as with the SDKs of the time."""
        await session.stream.put({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        return text("changed")

    async def tool_drop(self, session: OldSession, params: Json, say: Say) -> Json:
        return text("at once")

    async def tool_hang(self, session: OldSession, params: Json, say: Say) -> Json:
        await asyncio.sleep(60)
        return text("late")

    async def tool_change(self, session: OldSession, params: Json, say: Say) -> Json:
        """Every session hears of it."""
        for each in self.sessions.values():
            await each.stream.put({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
            await each.stream.put({"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"})
            for uri in each.watched:
                note = {"uri": uri}
                await each.stream.put({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": note})
        return text("changed")


TOOLS = [name.removeprefix("tool_") for name in vars(OldServer) if name.startswith("tool_")]
_EVENTS = (b"content-type", b"text/event-stream")


def text(value: str) -> Json:
    return {"content": [{"type": "text", "text": value}]}


def _event(message: Json) -> bytes:
    return b"event: message\r\ndata: " + json.dumps(message).encode() + b"\r\n\r\n"


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _plain(send: Any, status: int, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
