"""A server of 2026-07-28 alone, written by hand: no handshake, no session, no GET. It checks what the revision lets it check.

It has everything that such a server may have, keeps what it was told, and counts who left before the answer.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

VERSION = "2026-07-28"
BIG = 123456789012345678901234567890
_PREFIX = "io.modelcontextprotocol/"
_LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
_NAMES = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_CACHED = {"ttlMs": 0, "cacheScope": "public"}

_EMPTY = {"type": "object", "properties": {}}
_STOCK = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
TOOLS = [
    "echo",
    "slow",
    "chatty",
    "ask",
    "ask_url",
    "sample",
    "roots",
    "insist",
    "hang",
    "stock",
    "fail",
    "touch",
    "again",
]
_FORM = {
    "method": "elicitation/create",
    "params": {
        "mode": "form",
        "message": "How many?",
        "requestedSchema": {"type": "object", "properties": {"copies": {"type": "integer"}}, "required": ["copies"]},
    },
}
_URL = {"method": "elicitation/create", "params": {"mode": "url", "message": "Sign in", "url": "https://example.com/"}}
_SAMPLE = {
    "method": "sampling/createMessage",
    "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "Say something."}}], "maxTokens": 10},
}
_ROOTS = {"method": "roots/list"}
_WANTS = {"ask": _FORM, "ask_url": _URL, "sample": _SAMPLE, "roots": _ROOTS, "insist": _FORM}


@dataclass
class NewServer:
    """An ASGI app. Change `capabilities` before a client comes."""

    received: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: int = 0  # tool calls whose client went away before the answer
    listeners: dict[Any, tuple[Json, asyncio.Queue[Json | None]]] = field(default_factory=dict)
    capabilities: Json = field(
        default_factory=lambda: {
            "tools": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True},
            "prompts": {"listChanged": True},
            "completions": {},
            "logging": {},
        }
    )

    def methods(self) -> list[str]:
        return [message["method"] for message in self.received]

    def last(self, method: str) -> Json:
        return next(message for message in reversed(self.received) if message["method"] == method)

    def filters(self) -> list[Json]:
        """What those who listen at this moment want to hear of."""
        return [wanted for wanted, _ in self.listeners.values()]

    # ASGI

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["method"] != "POST":
            await _reply(send, 405, b"")
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        message = json.loads(body)
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.received.append(message)
        self.headers.append(headers)
        if (refusal := _defect(message, headers)) is not None:
            await _reply(send, refusal[0], _dump({"id": message.get("id"), "error": refusal[1]}))
            return
        answering = asyncio.ensure_future(self._answer(message, send))
        leaving = asyncio.ensure_future(_gone(receive))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            self.left += message["method"] == "tools/call"
            answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, message: Json, send: Any) -> None:
        began = False
        async for out in self._messages(message):
            is_last = "method" not in out
            if is_last and not began:
                error = out.get("error")
                status = {-32601: 404, -32602: 400}.get(error["code"], 200) if error else 200
                await _reply(send, status, _dump(out))
                return
            if not began:
                began = True
                head = [(b"content-type", b"text/event-stream")]
                await send({"type": "http.response.start", "status": 200, "headers": head})
            event = b"event: message\r\ndata: " + _dump(out) + b"\r\n\r\n"
            await send({"type": "http.response.body", "body": event, "more_body": not is_last})

    async def _messages(self, message: Json) -> AsyncIterator[Json]:
        method, params, request_id = message["method"], message.get("params", {}), message["id"]
        if method == "subscriptions/listen":
            async for out in self._listen(request_id, params):
                yield out
            return
        try:
            if method == "tools/call":
                async for note in self._notes(params):
                    yield note
                result = await self._call(params)
            else:
                result = _RESULTS[method](self, params)
        except KeyError:
            yield {"id": request_id, "error": {"code": -32601, "message": f"Method not found: {method}"}}
        except LookupError as exc:
            yield {"id": request_id, "error": {"code": -32602, "message": str(exc), "data": {"uri": params.get("uri")}}}
        else:
            meta = {_PREFIX + "serverInfo": {"name": "new", "version": "2.0", "title": "New"}}
            yield {"id": request_id, "result": {"resultType": "complete", **result, "_meta": meta, "extra": BIG}}

    async def _listen(self, request_id: Any, params: Json) -> AsyncIterator[Json]:
        wanted, queue = params["notifications"], asyncio.Queue[Json | None]()
        meta = {_PREFIX + "subscriptionId": request_id}
        self.listeners[request_id] = (wanted, queue)
        try:
            name = "notifications/subscriptions/acknowledged"
            yield {"method": name, "params": {"_meta": meta, "notifications": wanted}}
            while (note := await queue.get()) is not None:
                yield {**note, "params": {**note.get("params", {}), "_meta": meta}}
            yield {"id": request_id, "result": {"resultType": "complete", "_meta": meta}}
        finally:
            self.listeners.pop(request_id, None)

    def touch(self, uri: str) -> None:
        """Tell that a resource changed, to those who wanted to hear of it."""
        for wanted, queue in self.listeners.values():
            if uri in wanted.get("resourceSubscriptions", []):
                queue.put_nowait({"method": "notifications/resources/updated", "params": {"uri": uri}})

    def change_tools(self) -> None:
        for wanted, queue in self.listeners.values():
            if wanted.get("toolsListChanged"):
                queue.put_nowait({"method": "notifications/tools/list_changed"})

    async def _notes(self, params: Json) -> AsyncIterator[Json]:
        meta = params["_meta"]
        if params["name"] == "slow" and "progressToken" in meta:
            for step in range(3):
                token = meta["progressToken"]
                yield {
                    "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": step + 1, "total": 3, "message": f"step {step + 1}"},
                }
                await asyncio.sleep(0.01)
        if params["name"] == "chatty" and (level := meta.get(_PREFIX + "logLevel")) is not None:
            for each in _LEVELS[_LEVELS.index(level) :]:
                yield {"method": "notifications/message", "params": {"level": each, "logger": "new", "data": each}}

    async def _call(self, params: Json) -> Json:
        name, arguments = params["name"], params.get("arguments", {})
        match name:
            case "hang":
                await asyncio.sleep(60)
            case "fail":
                return {"content": [{"type": "text", "text": "it failed"}], "isError": True}
            case "touch":
                self.touch(arguments["uri"])
            case "again" if "requestState" not in params:
                return {"resultType": "input_required", "requestState": "later"}
        if (wanted := _WANTS.get(name)) is not None and (name == "insist" or "inputResponses" not in params):
            return {"resultType": "input_required", "inputRequests": {"a": wanted, "b": wanted}, "requestState": "s:1"}
        seen = {"arguments": arguments, "responses": params.get("inputResponses"), "state": params.get("requestState")}
        text = {"type": "text", "text": json.dumps(arguments)}
        return {"content": [text], "structuredContent": seen, "isError": False}

    # The other methods

    def _discover(self, params: Json) -> Json:
        return {
            "supportedVersions": [VERSION],
            "capabilities": self.capabilities,
            "instructions": "Be kind.",
            **_CACHED,
        }

    def _list_tools(self, params: Json) -> Json:
        names = TOOLS[:7] if "cursor" not in params else TOOLS[7:]
        tools = [{"name": name, "inputSchema": _STOCK if name == "stock" else _EMPTY, "x-own": 1} for name in names]
        return {"tools": tools, **_CACHED, **({"nextCursor": "second"} if "cursor" not in params else {})}

    def _list_resources(self, params: Json) -> Json:
        page = 0 if "cursor" not in params else int(params["cursor"])
        resources = [{"uri": f"test://{page}", "name": f"resource {page}"}]
        return {"resources": resources, **_CACHED, **({"nextCursor": str(page + 1)} if page < 2 else {})}

    def _list_templates(self, params: Json) -> Json:
        return {"resourceTemplates": [{"uriTemplate": "test://{id}", "name": "any"}], **_CACHED}

    def _read(self, params: Json) -> Json:
        if not params["uri"].startswith("test://"):
            raise LookupError("Resource not found")
        return {"contents": [{"uri": params["uri"], "text": "content", "mimeType": "text/plain"}], **_CACHED}

    def _list_prompts(self, params: Json) -> Json:
        return {"prompts": [{"name": "greet", "arguments": [{"name": "who", "required": True}]}], **_CACHED}

    def _get_prompt(self, params: Json) -> Json:
        content = {"type": "text", "text": f"Hello {params.get('arguments', {}).get('who')}"}
        return {"messages": [{"role": "user", "content": content}]}

    def _complete(self, params: Json) -> Json:
        return {"completion": {"values": [params["argument"]["value"] + "x"], "total": 1, "hasMore": False}}


_RESULTS: dict[str, Callable[[NewServer, Json], Json]] = {
    "server/discover": NewServer._discover,
    "tools/list": NewServer._list_tools,
    "resources/list": NewServer._list_resources,
    "resources/templates/list": NewServer._list_templates,
    "resources/read": NewServer._read,
    "prompts/list": NewServer._list_prompts,
    "prompts/get": NewServer._get_prompt,
    "completion/complete": NewServer._complete,
}


def _defect(message: Json, headers: dict[str, str]) -> tuple[int, Json] | None:
    """Status and error for what a server of the revision must refuse."""
    method, params = message.get("method"), message.get("params", {})
    meta = params.get("_meta", {})
    if method == "initialize" or "id" not in message:
        return 404, {"code": -32601, "message": f"Method not found: {method}"}
    if headers.get("mcp-protocol-version") != VERSION or meta.get(_PREFIX + "protocolVersion") != VERSION:
        return 400, {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": [VERSION]}}
    if _PREFIX + "clientCapabilities" not in meta:
        return 400, {"code": -32602, "message": "Missing client capabilities"}
    if headers.get("mcp-method") != method:
        return 400, {"code": -32020, "message": "Mcp-Method differs"}
    if method in _NAMES and _decoded(headers.get("mcp-name", "")) != params.get(_NAMES[method]):
        return 400, {"code": -32020, "message": "Mcp-Name differs"}
    region = params.get("arguments", {}).get("region")
    if method == "tools/call" and region is not None and _decoded(headers.get("mcp-param-region", "")) != region:
        return 400, {"code": -32020, "message": "Mcp-Param-Region differs"}
    return None


def _decoded(value: str) -> str:
    if value.startswith("=?base64?") and value.endswith("?="):
        return base64.b64decode(value[9:-2]).decode()
    return value


def _dump(message: Json) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode()


async def _reply(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
