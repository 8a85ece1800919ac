"""Closed: the answer leaves only after its row is committed.

A client of the modern revision in front of any peer. What comes before the answer goes out as events; an answer that comes alone
is one JSON document, with the HTTP status that the revision gives its error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from calls.record import Outcome
from calls.writer import CallWriter
from gateway import answers
from gateway.answers import Send
from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.mcp import errors, lossless, outcomes, sse
from gateway.mcp.messages import ENDLESS
from gateway.peers import Ask, Json, Peer
from gateway.stages import lists, meter

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_STATUS = {
    errors.PARSE_ERROR: 400,
    errors.INVALID_REQUEST: 400,
    errors.INVALID_PARAMS: 400,
    errors.METHOD_NOT_FOUND: 404,
    -32020: 400,
    -32021: 400,
    -32022: 400,
}


class ModernFront:
    def __init__(self, config: GatewayConfig, writer: CallWriter) -> None:
        self._config, self._writer = config, writer

    async def relay(self, call: CallContext, peer: Peer, receive: Receive, send: Send) -> None:
        """Ask the peer what the client asked, and pass on what it says. Raises as `Peer.ask` does."""
        assert call.message is not None
        deadlines = self._config.deadlines
        is_endless = call.message.method in ENDLESS
        first_byte = (call.server.timeout_s if call.server is not None else None) or deadlines.first_byte
        first, total = (deadlines.stream,) * 2 if is_endless else (first_byte, deadlines.total)
        call.watched.phase(first, receive, total=total)
        async with contextlib.aclosing(peer.ask(call, ask_of(call))) as messages:
            async for message in messages:
                if sse.is_answer(message):
                    await self._answer(call, message, send)
                    return
                await self._notify(call, message, send)
        await self._end(call, send)

    async def _notify(self, call: CallContext, message: Json, send: Send) -> None:
        if not call.stream_started:
            await answers.start_stream(call, send, [])
        data: bytes | None = lossless.dumps(message)
        if call.tasks is not None:
            data = call.tasks.note_text(call, message, lossless.dumps(message))
        if data is None:
            return
        event = sse.event(data)
        call.response_bytes += len(event)
        await answers.send_event(call, event)

    async def _answer(self, call: CallContext, message: Json, send: Send) -> None:
        outcomes.judge(call, message)
        call.watched.settle()
        # Without a server it is the aggregated list, which was narrowed server by server.
        if call.server is not None and lists.is_list(call):
            message = lists.narrow_message(call, message)
        data = lossless.dumps(message)
        if call.tasks is not None and call.task_state is not None:
            data = call.tasks.answer(call, data)
        call.response_bytes += len(data)
        call.status = 200 if call.stream_started else status_of(message)
        await meter.commit(call, self._writer)
        if call.stream_started:
            await answers.send_event(call, sse.event(data), last=True)
        else:
            await answers.send_json(call, send, call.status, data)

    async def _end(self, call: CallContext, send: Send) -> None:
        """A stream that nobody owes an answer has ended by itself."""
        call.outcome = Outcome.OK
        call.watched.settle()
        await meter.commit(call, self._writer)
        if not call.stream_started:
            await answers.start_stream(call, send, [])
        await answers.send_event(call, b"", last=True)


def ask_of(call: CallContext) -> Ask:
    """The client's request as it is to be asked, every digit kept."""
    assert call.message is not None
    params = call.message.params
    if lossless.needs_care(call.body):
        params = lossless.loads(call.body)["params"]
    headers = [b"%b: %b\r\n" % (name, value) for name, value in call.headers.items() if name.startswith(b"mcp-param-")]
    return Ask(call.message.request_id, call.message.method, params, b"".join(headers))


def status_of(message: Json) -> int:
    """The HTTP status that an answer travels with (2026-07-28, streamable HTTP)."""
    error = message.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return _STATUS.get(code, 200) if isinstance(code, int) else 200
