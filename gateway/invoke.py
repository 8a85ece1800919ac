"""`POST /v1/invoke`: one tool call as plain JSON, with what it cost in the answer.

Same stages as the MCP endpoint; only the words differ: problem documents instead of JSON-RPC errors, and this side speaks the
protocol itself. It tries the modern revision first and remembers per server when only the handshake is understood.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from calls.writer import CallWriter
from gateway import answers
from gateway.answers import Send
from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.mcp import errors, messages, outcomes, sse, versions
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import Message, Shape
from gateway.pipeline import Pipeline, digest_of
from gateway.stages import meter
from gateway.upstream import wire
from gateway.upstream.client import Target, Upstreams
from gateway.upstream.http1 import Reply, UpstreamBrokenError
from gateway.watch import Watch

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_KEYS = frozenset({"server", "tool", "arguments", "idempotency_key"})
_LEGACY_VERSION = "2025-11-25"
_CLIENT = {"name": "mcp-marketplace", "version": "0.1.0"}
# A modern server says these; anything else on a first try means that it may only know the handshake.
_MODERN_ERRORS = frozenset({-32020, -32021, -32022, -32601, -32602, -32603})
_REQUEST_ID = 1


class Invoker:
    def __init__(
        self, config: GatewayConfig, pipeline: Pipeline, upstreams: Upstreams, watch: Watch, writer: CallWriter
    ) -> None:
        self._config, self._pipeline, self._upstreams = config, pipeline, upstreams
        self._watch, self._writer = watch, writer

    async def handle(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        call = CallContext("", "invoke", self._watch.request())
        try:
            with call.watched:
                if scope["method"] != "POST":
                    raise RefusedError("gateway.method_not_allowed")
                await self._pipeline.receive(call, scope, receive)
                self._read(call)
                await self._pipeline.decide(call, "tools/call", call.tool)
                await self._pipeline.deliver(call, lambda: self._relay(call, send))
        except Exception as exc:  # noqa: BLE001 - translated in one place
            await self._pipeline.answer_failure(call, exc, send)

    def _read(self, call: CallContext) -> None:
        """The body as a tool call. Raises RefusedError."""
        data, defect = messages.read_object(call.body, self._config.limits.json_depth)
        unknown = sorted(set(data) - _KEYS)
        server, tool, arguments = data.get("server"), data.get("tool"), data.get("arguments", {})
        if not isinstance(server, str) or not isinstance(tool, str) or not server or not tool:
            raise RefusedError("gateway.request_invalid", "`server` and `tool` are required and are text.")
        params = {"name": tool, "arguments": arguments}
        call.slug, call.tool = server, tool[:256]
        call.message = Message(Shape.REQUEST, _REQUEST_ID, "tools/call", params, defect)
        if unknown:
            call.message.defect = RefusedError(
                "gateway.request_invalid", f"Unknown members: {', '.join(unknown)[:200]}."
            )
        elif not isinstance(arguments, dict):
            call.message.defect = RefusedError("gateway.params_invalid", "`arguments` must be an object.")
        else:
            call.arguments_digest = digest_of(arguments)

    async def _relay(self, call: CallContext, send: Send) -> None:
        message = await self._call_tool(call)
        call.watched.settle()
        outcomes.judge(call, message)
        await self._answer(call, send, message)

    async def _call_tool(self, call: CallContext) -> dict[str, Any]:
        """The server's answer to the tool call, in whichever era it speaks."""
        assert call.server is not None
        target = await self._upstreams.target(call.url)
        call.upstream_began_ns = time.perf_counter_ns()
        try:
            call.watched.phase(self._config.deadlines.total)
            call.attempts = 1
            if target.modern is not False:
                message = await self._call_modern(call, target)
                if message is not None:
                    target.modern = True
                    return message
            return await self._call_legacy(call, target)
        finally:
            call.note_upstream()

    async def _call_modern(self, call: CallContext, target: Target) -> dict[str, Any] | None:
        """None when the server does not know this revision and therefore did nothing."""
        assert call.message is not None
        call.protocol = versions.FIRST_MODERN.decode()
        meta = {
            versions.META_VERSION: call.protocol,
            versions.META_CAPABILITIES: {},
            versions.META_CLIENT: _CLIENT,
        }
        headers = b"mcp-protocol-version: %b\r\nmcp-method: tools/call\r\nmcp-name: %b\r\n" % (
            versions.FIRST_MODERN,
            versions.encode_header(call.message.params["name"]),
        )
        body = _rpc("tools/call", {**call.message.params, "_meta": meta}, _REQUEST_ID)
        reply = await self._send(call, target, headers, body)
        try:
            if reply.status >= 400 and target.modern is None and not await self._is_modern_error(reply):
                return None
            return await self._read_answer(call, reply)
        finally:
            reply.close()

    async def _is_modern_error(self, reply: Reply) -> bool:
        """Whether an error status comes from a server that understood the revision. The body stays readable."""
        data = await reply.read_all(self._config.limits.reply_bytes)
        reply.feed(data)
        with contextlib.suppress(orjson.JSONDecodeError, AttributeError):
            error = orjson.loads(data).get("error")
            return isinstance(error, dict) and error.get("code") in _MODERN_ERRORS
        return reply.status in {401, 403, 429} or reply.status >= 500

    async def _call_legacy(self, call: CallContext, target: Target) -> dict[str, Any]:
        """A session for one call: initialize, call, end."""
        assert call.message is not None
        call.protocol = _LEGACY_VERSION
        hello = {"protocolVersion": _LEGACY_VERSION, "capabilities": {}, "clientInfo": _CLIENT}
        reply = await self._send(call, target, b"", _rpc("initialize", hello, 0))
        try:
            session = reply.header(b"mcp-session-id")
            welcome = await self._read_answer(call, reply, 0)
        finally:
            reply.close()
        if not isinstance(result := welcome.get("result"), dict):
            raise RefusedError("upstream.failed", detail="the server refused the handshake")
        target.modern = False
        call.protocol = str(result.get("protocolVersion", _LEGACY_VERSION))[:32]
        headers = b"mcp-protocol-version: %b\r\n" % versions.encode_header(call.protocol)
        if session:
            headers += b"mcp-session-id: %b\r\n" % session
        try:
            await self._send_and_forget(call, target, headers, _rpc("notifications/initialized", {}, None))
            reply = await self._send(call, target, headers, _rpc("tools/call", call.message.params, _REQUEST_ID))
            try:
                return await self._read_answer(call, reply)
            finally:
                reply.close()
        finally:
            if session:
                with contextlib.suppress(UpstreamBrokenError):
                    await self._end_session(call, target, headers)

    async def _read_answer(self, call: CallContext, reply: Reply, request_id: int = _REQUEST_ID) -> dict[str, Any]:
        """The JSON-RPC answer in a reply of either kind; what comes before it on a stream is progress and is dropped."""
        limit = self._config.limits.reply_bytes
        outcomes.note_status(call, reply)
        if wire.is_event_stream(reply) and reply.status == 200:
            async for event, found in wire.events(reply, limit):
                if found is not None and sse.is_answer(found) and found.get("id") == request_id:
                    call.response_bytes = len(event)
                    return found
            raise RefusedError("upstream.failed", detail="the stream ended without an answer")
        data = await reply.read_all(limit)
        call.response_bytes = len(data)
        if not wire.is_json(reply):
            raise RefusedError("upstream.failed", detail=f"HTTP {reply.status}, not JSON")
        try:
            message = orjson.loads(data)
        except orjson.JSONDecodeError as exc:
            raise RefusedError("upstream.failed", detail="the reply is not valid JSON") from exc
        if not isinstance(message, dict) or not sse.is_answer(message):
            raise RefusedError("upstream.failed", detail=f"HTTP {reply.status}, no JSON-RPC answer")
        if message.get("id") != request_id and "error" not in message:
            raise RefusedError("upstream.failed", detail="the reply answers another request")
        return message

    async def _send(self, call: CallContext, target: Target, headers: bytes, body: bytes) -> Reply:
        return await self._upstreams.exchange(
            target,
            b"%b%bx-marketplace-call-id: %b\r\n%bcontent-length: %d\r\n\r\n%b"
            % (target.post_head, wire.POST_TYPES, call.call_id_text, headers, len(body), body),
        )

    async def _send_and_forget(self, call: CallContext, target: Target, headers: bytes, body: bytes) -> None:
        reply = await self._send(call, target, headers, body)
        try:
            await reply.read_all(self._config.limits.reply_bytes)
        finally:
            reply.close()

    async def _end_session(self, call: CallContext, target: Target, headers: bytes) -> None:
        head = target.head(b"DELETE") + b"x-marketplace-call-id: %b\r\n" % call.call_id_text
        reply = await self._upstreams.exchange(target, head + headers + b"\r\n")
        try:
            await reply.read_all(self._config.limits.reply_bytes)
        finally:
            reply.close()

    async def _answer(self, call: CallContext, send: Send, message: dict[str, Any]) -> None:
        if "error" in message:
            raise _rpc_refusal(message["error"])
        call.status = 200
        await meter.commit(call, self._writer)
        body = orjson.dumps({"result": message["result"], "usage": usage(call)})
        await answers.send_json(call, send, 200, body)


def usage(call: CallContext) -> dict[str, Any]:
    """What the call was and what it cost; money as text, exact."""
    decision, price = call.decision, call.price
    return {
        "call_id": call.call_id_text.decode(),
        "server": call.slug,
        "tool": call.tool,
        "outcome": str(call.outcome),
        "billable": call.is_billable,
        "quantity": 1 if call.is_billable else 0,
        "price": format(price.rate, "f") if price is not None and call.is_billable else "0",
        "currency": price.currency if price is not None else "USD",
        "latency_ms": round(call.elapsed_ms, 2),
        "grant_id": str(decision.grant_id) if decision is not None and decision.grant_id else None,
        "decision": str(decision.reason) if decision is not None else "",
    }


def _rpc(method: str, params: dict[str, Any], request_id: int | None) -> bytes:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
    if request_id is not None:
        message["id"] = request_id
    return orjson.dumps(message)


def _rpc_refusal(error: Any) -> RefusedError:
    """The server's own error about the call: it ran into it, so the caller may correct the arguments."""
    code, text = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    refusal = RefusedError("upstream.rpc_error", str(text)[:500] if text else "", detail=f"rpc {code}: {text}"[:300])
    refusal.data["upstream_code"] = code
    if code == errors.INVALID_PARAMS:
        refusal.status = 400  # type: ignore[misc]
    return refusal
