"""`POST /v1/invoke`: one tool call as plain JSON, with what it cost in the answer.

Same stages as the MCP endpoint; only the words differ: problem documents instead of JSON-RPC errors, and this side speaks the
protocol itself, in whichever era the server does. A caller that leaves cancels the call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from calls.writer import CallWriter
from gateway import answers
from gateway.answers import Send
from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.mcp import errors, lossless, messages, outcomes, sse, versions
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import Message, Shape
from gateway.peers import Ask, Json, Peer
from gateway.pipeline import MAX_TOOL, TOO_LONG, Pipeline, digest_of
from gateway.stages import meter
from gateway.watch import Watch

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_KEYS = frozenset({"server", "tool", "arguments", "idempotency_key"})
_CLIENT = {"name": "mcp-marketplace", "version": "0.1.0"}
_REQUEST_ID = 1


class Invoker:
    def __init__(self, config: GatewayConfig, pipeline: Pipeline, peer: Peer, watch: Watch, writer: CallWriter) -> None:
        self._config, self._pipeline, self._peer = config, pipeline, peer
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
                await self._pipeline.deliver(call, lambda: self._relay(call, receive, send))
        except Exception as exc:  # noqa: BLE001 - translated in one place
            await self._pipeline.answer_failure(call, exc, send)

    def _read(self, call: CallContext) -> None:
        """The body as a tool call. Raises RefusedError."""
        data, defect = messages.read_object(call.body, self._config.limits.json_depth)
        unknown = sorted(set(data) - _KEYS)
        server, tool, arguments = data.get("server"), data.get("tool"), data.get("arguments", {})
        if not isinstance(server, str) or not isinstance(tool, str) or not server or not tool:
            raise RefusedError("gateway.request_invalid", "`server` and `tool` are required and are text.")
        exact = lossless.loads(call.body) if lossless.needs_care(call.body) else data
        params = {"name": tool, "arguments": exact.get("arguments", {})}
        call.slug, call.tool = server, tool[:MAX_TOOL]
        call.message = Message(Shape.REQUEST, _REQUEST_ID, "tools/call", params, defect)
        if unknown:
            call.message.defect = RefusedError(
                "gateway.request_invalid", f"Unknown members: {', '.join(unknown)[:200]}."
            )
        elif len(tool) > MAX_TOOL:
            call.message.defect = RefusedError("gateway.params_invalid", TOO_LONG)
        elif not isinstance(arguments, dict):
            call.message.defect = RefusedError("gateway.params_invalid", "`arguments` must be an object.")
        else:
            call.arguments_digest = digest_of(arguments)

    async def _relay(self, call: CallContext, receive: Receive, send: Send) -> None:
        deadlines = self._config.deadlines
        first = (call.server.timeout_s if call.server is not None else None) or deadlines.total
        call.watched.phase(first, receive, total=deadlines.total)
        message = await self._ask(call)
        call.watched.settle()
        # This interface has no revision of its own: what is stored is the one that was spoken with the server.
        call.protocol = call.upstream_protocol or versions.FIRST_MODERN.decode()
        outcomes.judge(call, message)
        await self._answer(call, send, message)

    async def _ask(self, call: CallContext) -> Json:
        """The server's answer, whichever era it speaks; what comes before it is progress that nobody asked for."""
        assert call.message is not None
        meta = {
            versions.META_VERSION: versions.FIRST_MODERN.decode(),
            versions.META_CAPABILITIES: {},
            versions.META_CLIENT: _CLIENT,
        }
        request = Ask(_REQUEST_ID, "tools/call", {**call.message.params, "_meta": meta})
        async with contextlib.aclosing(self._peer.ask(call, request)) as messages:
            async for message in messages:
                if sse.is_answer(message):
                    return message
        raise RefusedError("upstream.failed", detail="no answer")

    async def _answer(self, call: CallContext, send: Send, message: dict[str, Any]) -> None:
        if "error" in message:
            raise _rpc_refusal(message["error"])
        call.status = 200
        call.response_bytes = len(lossless.dumps(message))
        await meter.commit(call, self._writer)
        body = lossless.dumps({"result": message["result"], "usage": usage(call)})
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
        "price": format(call.cost, "f") if price is not None and call.is_billable else "0",
        "currency": price.currency if price is not None else "USD",
        "latency_ms": round(call.elapsed_ms, 2),
        "grant_id": str(decision.grant_id) if decision is not None and decision.grant_id else None,
        "decision": str(decision.reason) if decision is not None else "",
    }


def _rpc_refusal(error: Any) -> RefusedError:
    """The server's own error about the call: it ran into it, so the caller may correct the arguments."""
    code, text = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    refusal = RefusedError("upstream.rpc_error", str(text)[:500] if text else "", detail=f"rpc {code}: {text}"[:300])
    refusal.data["upstream_code"] = code
    if code == errors.INVALID_PARAMS:
        refusal.status = 400  # type: ignore[misc]
    return refusal
