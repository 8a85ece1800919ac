"""Closed: one attempt at the server, and only what is a proper answer goes back to the caller.

The caller's message is forwarded byte for byte; headers are built from a list of what may pass, never copied. Streams are cut
at events and passed on at once; the event that carries the answer waits for its row.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from calls.record import Outcome
from calls.writer import CallWriter
from core.errors import MarketplaceError
from gateway import answers, cache
from gateway.admission import endpoints
from gateway.answers import HeaderList, Send
from gateway.config import GatewayConfig
from gateway.context import CallContext, session_owner
from gateway.fronts.legacy import LegacyFront
from gateway.fronts.modern import ModernFront, ask_of
from gateway.fronts.requests import handshake_of
from gateway.mcp import errors, lossless, outcomes, sse
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import ENDLESS, Shape
from gateway.mcp.session import SessionSeal
from gateway.peers import translate
from gateway.peers.any import AnyPeer
from gateway.peers.modern import is_understood, read_document
from gateway.stages import lists, meter
from gateway.upstream import attempts
from gateway.upstream.client import Target, Upstreams
from gateway.upstream.http1 import Connection, Reply, UpstreamBrokenError
from gateway.upstream.wire import POST_TYPES, events, is_event_stream, is_json

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_TRACE = frozenset({b"tracestate", b"baggage"})
_MODERN = _TRACE | {b"mcp-protocol-version", b"mcp-method", b"mcp-name"}
_LEGACY = _TRACE | {b"mcp-protocol-version", b"last-event-id"}
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_DRAIN_S = 1.0
_MAX_WAIT_S = 999_999.0
# With these a server refuses a request that it cannot read, before it acts on it.
_SUSPECT = frozenset({400, 404, 405, 406, 415})
_MAY_PASS_BACK = frozenset({b"cache-control", b"retry-after", b"allow", b"mcp-session-id"})
_PASSED_HEADERS = (b"cache-control", b"retry-after", b"allow")


class Forwarder:
    def __init__(
        self,
        config: GatewayConfig,
        upstreams: Upstreams,
        writer: CallWriter,
        seal: SessionSeal,
        peers: AnyPeer,
        legacy: LegacyFront,
    ) -> None:
        self._config, self._upstreams, self._peers = config, upstreams, peers
        self._writer, self._seal = writer, seal
        self._modern_front, self.legacy = ModernFront(config, writer), legacy
        self.credentials = upstreams.credentials
        self._cache = cache.ResultCache()

    def relay_request(self, call: CallContext, receive: Receive, send: Send) -> Awaitable[None]:
        """Send a request to the server in an era that it speaks, record the call, and answer."""
        assert call.message is not None
        if call.modern and call.message.method == "tools/call" and self._peers.eras.of(call.entry).modern:
            return self._pass_through(call, receive, send)
        return self._relay_request(call, receive, send)

    async def _relay_request(self, call: CallContext, receive: Receive, send: Send) -> None:
        assert call.message is not None
        if not call.modern or call.message.method not in cache.METHODS:
            await self._relay(call, receive, send)
            return
        async with self._cache.turn(call) as held:
            if held is None:
                await self._relay(call, receive, send)
            else:
                await self._answer_held(call, held, send)

    async def _answer_held(self, call: CallContext, data: bytes, send: Send) -> None:
        """Answer with what the server said a while ago: narrowed for this caller, recorded, and no call of the server."""
        assert call.message is not None
        call.watched.settle()
        call.status, call.outcome, call.response_bytes = 200, Outcome.OK, len(data)
        if call.message.method == lists.METHOD:
            data = lists.narrow(call, orjson.loads(data), data)
        await meter.commit(call, self._writer)
        await answers.send_json(call, send, 200, data)

    async def _relay(self, call: CallContext, receive: Receive, send: Send) -> None:
        if call.modern and not await self._speaks_modern(call, receive):
            await self._modern_front.relay(call, self._peers, receive, send)
        elif self._is_fronted(call):
            await self.legacy.relay(call, self._peers, send)
        elif call.message is not None and call.message.method in ENDLESS:
            with self._upstreams.lasting(await self._upstreams.target(call.url), call.tenant_id):
                await self._pass_through(call, receive, send)
        else:
            await self._pass_through(call, receive, send)

    def _is_fronted(self, call: CallContext) -> bool:
        """Whether the client speaks by handshake and the server does not, so that the session is the gateway's own."""
        if call.modern:
            return False
        return call.session is not None or self._peers.eras.of(call.entry).legacy is False

    async def _speaks_modern(self, call: CallContext, receive: Receive) -> bool:
        assert call.server is not None
        modern = self._peers.eras.of(call.server).modern
        if modern is None:
            call.watched.phase(self._config.deadlines.first_byte, receive)
            modern = await self._peers.is_modern(call)
        return modern

    def known_modern(self, call: CallContext) -> Target | None:
        """Where the call goes, when the address was checked before and the server is known to speak the modern era."""
        return self._upstreams.known_target(call.url) if self._peers.eras.of(call.entry).modern else None

    def go_on(
        self, call: CallContext, receive: Receive, send: Send, connection: Connection, started: asyncio.Future[Reply]
    ) -> Awaitable[None]:
        """Record and answer a call whose server was asked already."""
        return self._receive(call, receive, send, self._upstreams.await_reply(connection, started))

    def _pass_through(self, call: CallContext, receive: Receive, send: Send) -> Awaitable[None]:
        """Client and server speak the same era: the client's bytes go on, and the server's come back."""
        assert call.server is not None
        assert call.message is not None
        deadlines = self._config.deadlines
        call.ask_upstream()
        total = deadlines.stream if call.message.method in ENDLESS else deadlines.total
        first_byte = call.server.timeout_s or deadlines.first_byte
        call.watched.phase(first_byte, receive if call.modern else None, total=total)
        return self._receive(call, receive, send, None)

    async def _receive(
        self, call: CallContext, receive: Receive, send: Send, under_way: Awaitable[Reply] | None
    ) -> None:
        """What the server says, recorded and passed on."""
        assert call.message is not None
        deadlines, method = self._config.deadlines, call.message.method
        is_endless = method in ENDLESS
        try:
            reply = await attempts.first_reply(self._upstreams, call, self.post, under_way)
            try:
                call.mark("first_byte")
                idle = deadlines.stream if is_endless else deadlines.idle
                call.watched.extend(idle)
                if is_event_stream(reply):
                    await self._relay_stream(call, reply, send, idle)
                    return
                limit = self._config.limits.reply_bytes
                data = reply.whole(limit) if reply.complete else await reply.read_all(limit)
            finally:
                reply.close()
        finally:
            call.note_upstream()
        if call.modern:
            if reply.status in _SUSPECT and await self._is_older(call, reply, data):
                await self._modern_front.relay(call, self._peers, receive, send)
                return
        elif method == "initialize" and await self._knows_no_handshake(call, reply, data):
            await self.legacy.relay(call, self._peers, send)
            return
        call.watched.settle()
        call.mark("reply")
        call.response_bytes = len(data)
        message = outcomes.judge_body(call, reply.status, is_json(reply), data)
        if method != "tools/call":
            data = self._made_fit(call, message, data)
        elif call.task_state is not None and call.tasks is not None:
            data = call.tasks.answer(call, data)
        await meter.commit(call, self._writer)
        await answers.send_json(call, send, reply.status, data, more=self.passed_headers(call, reply))

    def _made_fit(self, call: CallContext, message: dict[str, Any], data: bytes) -> bytes:
        """What others may be told again is kept, and the caller is told what is for the caller."""
        method = call.message.method if call.message is not None else ""
        if method in cache.METHODS:
            self._cache.note(call, message, data)
        if method == lists.METHOD:
            return lists.narrow(call, message, data)
        return call.tasks.answer(call, data) if call.tasks is not None and _concerns_tasks(call) else data

    async def _is_older(self, call: CallContext, reply: Reply, data: bytes) -> bool:
        """Whether the server refused because it does not know the revision, and can be spoken to in an older one."""
        document = read_document(data) if is_json(reply) else None
        if is_understood(reply.status, document):
            return False
        return await self._peers.is_older(call, ask_of(call))

    async def _knows_no_handshake(self, call: CallContext, reply: Reply, data: bytes) -> bool:
        """Whether the server refused `initialize` because it speaks in another way, which is then known of it."""
        document = read_document(data) if is_json(reply) else None
        error = document.get("error") if document is not None else None
        is_unknown = isinstance(error, dict) and error.get("code") == errors.METHOD_NOT_FOUND
        eras, server = self._peers.eras, call.entry
        if reply.status not in _SUSPECT and not is_unknown:
            if document is not None and "result" in document:
                eras.learn(server, legacy=True)
            return False
        try:
            if not await self._peers.is_modern(call) and not await self._peers.is_older(call, handshake_of(call)):
                return False
        except (UpstreamBrokenError, MarketplaceError):
            return False
        # A server of 2024-11-05 has been found out by its own peer; any other was asked in vain just now.
        eras.learn(server, legacy=False)
        return True

    async def relay_message(self, call: CallContext, send: Send) -> None:
        """Pass on a notification or a client's response: no row, whatever the server says goes back."""
        if self._is_fronted(call):
            await self.legacy.take(call, send)
            return
        target = await self._upstreams.target(call.url)
        await self._relay_plain(call, target, self.post(target, call), send)

    async def relay_delete(self, call: CallContext, send: Send) -> None:
        if self._is_fronted(call):
            await self.legacy.end(call, send)
            return
        target = await self._upstreams.target(call.url)
        await self._relay_plain(call, target, self._bare(target, call, b"DELETE"), send)

    async def relay_listen(self, call: CallContext, receive: Receive, send: Send) -> None:
        """The legacy GET stream: what the server sends on its own. Answers do not belong here and are dropped."""
        if self._is_fronted(call):
            await self.legacy.listen(call, self._peers, receive, send)
            return
        deadlines = self._config.deadlines
        target = await self._upstreams.target(call.url)
        call.watched.phase(deadlines.first_byte, receive, total=deadlines.stream)
        with self._upstreams.lasting(target, call.tenant_id):
            await self._listen(call, target, send)

    async def _listen(self, call: CallContext, target: Target, send: Send) -> None:
        is_resumed = b"last-event-id" in call.headers
        reply = await self._upstreams.exchange(target, self._bare(target, call, b"GET"))
        try:
            if not is_event_stream(reply) or reply.status != 200:
                data = await reply.read_all(self._config.limits.reply_bytes)
                await self._pass_on(call, reply, data, send)
                return
            call.watched.extend(self._config.deadlines.stream)
            await answers.start_stream(call, send, self.passed_headers(call, reply))
            async for event, message in events(reply, self._config.limits.reply_bytes):
                if not sse.is_answer(message):
                    self._cache.hear(call.entry.server_id, message)
                    await _send_note(call, message, event)
                elif is_resumed and message is not None:
                    await answers.send_event(call, lists.narrow_event(call, message, event))
        finally:
            reply.close()
        await answers.send_event(call, b"", last=True)

    async def end_stream(self, call: CallContext, send: Send, refusal: RefusedError | None) -> None:
        """Close a stream that has begun, with an error event where an answer is owed."""
        if refusal is not None and call.message is not None and call.message.shape is Shape.REQUEST:
            data = errors.rpc_error(refusal, call.request_id, call.call_id_text.decode())
            await answers.send_event(call, sse.event(data), last=True)
        elif refusal is None and call.modern and call.message is not None and call.message.method in ENDLESS:
            # A subscription that has reached its greatest age: the client knows that nothing was lost.
            await answers.send_event(call, sse.event(lossless.dumps(translate.farewell(call.request_id))), last=True)
        else:
            await answers.send_event(call, b"", last=True)

    def passed_headers(self, call: CallContext, reply: Reply) -> HeaderList:
        """Of the server's headers, those that may reach the client; a session id is sealed first."""
        passed: HeaderList = []
        for name, value in reply.headers:
            if name not in _MAY_PASS_BACK:
                continue
            if name in _PASSED_HEADERS and not is_event_stream(reply):
                passed.append((name, value))
            elif name == b"mcp-session-id" and not call.modern:
                passed.append((name, self._seal.seal(endpoints.tie(value, call), session_owner(call))))
        return passed

    async def _relay_stream(self, call: CallContext, reply: Reply, send: Send, idle: float) -> None:
        assert call.server is not None
        if reply.status != 200:
            raise outcomes.not_an_answer(reply.status, "an event stream with an error status")
        await answers.start_stream(call, send, self.passed_headers(call, reply))
        resumable = False
        heard = functools.partial(call.watched.extend, idle)
        async for event, message in events(reply, self._config.limits.reply_bytes, heard):
            heard()
            call.response_bytes += len(event)
            if not sse.is_answer(message):
                resumable = resumable or (not call.modern and sse.has_event_id(event))
                self._cache.hear(call.server.server_id, message)
                await _send_note(call, message, event)
                continue
            assert message is not None
            if not outcomes.is_answer_to(call, message):
                continue
            outcomes.judge(call, message)
            call.note_upstream()
            call.mark("reply")
            call.watched.settle()
            if call.message is not None and call.message.method in cache.METHODS:
                self._cache.note(call, message, sse.data_of(event))
            last = lists.narrow_event(call, message, event) if lists.is_list(call) else event
            if call.tasks is not None and _concerns_tasks(call):
                last = call.tasks.answer_event(call, event)
            await meter.commit(call, self._writer)
            await answers.send_event(call, last, last=True)
            await self._drain(reply)
            return
        await self._end_without_answer(call, send, resumable=resumable)

    async def _end_without_answer(self, call: CallContext, send: Send, *, resumable: bool) -> None:
        assert call.message is not None
        if call.message.method in ENDLESS:
            call.outcome = Outcome.OK
        elif resumable:
            # A legacy server may drop the stream and give the answer to a GET with Last-Event-ID.
            call.outcome = Outcome.UNKNOWN
        else:
            raise RefusedError("upstream.failed", detail="the stream ended without an answer")
        call.watched.settle()
        await meter.commit(call, self._writer)
        await answers.send_event(call, b"", last=True)

    async def _drain(self, reply: Reply) -> None:
        """Let the server finish its stream, so that the connection can be used again."""
        with contextlib.suppress(UpstreamBrokenError, TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while await reply.read():
                    pass

    def post(self, target: Target, call: CallContext, lines: bytes | None = None) -> bytes:
        """The request; `lines` is what `forwarded` gives, where that is known. Raises RefusedError."""
        return b"%b%b%b%bcontent-length: %d\r\n\r\n%b" % (
            target.post_head,
            POST_TYPES,
            self.credentials.headers(call, call.body),
            forwarded(call) if lines is None else lines,
            len(call.body),
            call.body,
        )

    def _bare(self, target: Target, call: CallContext, method: bytes) -> bytes:
        """A GET or DELETE of the legacy transport."""
        accept = b"accept: application/json, text/event-stream\r\n"
        return b"%b%b%b%b\r\n" % (target.head(method), accept, self.credentials.headers(call, b""), forwarded(call))

    async def _relay_plain(self, call: CallContext, target: Target, request: bytes, send: Send) -> None:
        call.watched.phase(self._config.deadlines.first_byte)
        reply = await self._upstreams.exchange(target, request)
        try:
            data = await reply.read_all(self._config.limits.reply_bytes)
        finally:
            reply.close()
        await self._pass_on(call, reply, data, send)

    async def _pass_on(self, call: CallContext, reply: Reply, data: bytes, send: Send) -> None:
        outcomes.require_welcome(reply.status)
        if reply.status in {403, 407} or 300 <= reply.status < 400 or reply.status >= 500:
            raise RefusedError("upstream.failed", detail=f"HTTP {reply.status}")
        headers = self.passed_headers(call, reply)
        if data:
            headers.append((b"content-type", b"application/json" if is_json(reply) else b"text/plain; charset=utf-8"))
        await answers.send_bytes(call, send, reply.status, data, headers)


def _concerns_tasks(call: CallContext) -> bool:
    """Whether the answer names a task, or what the server offers of tasks."""
    return call.task_state is not None or (call.message is not None and call.message.method == "initialize")


async def _send_note(call: CallContext, message: dict[str, Any] | None, event: bytes) -> None:
    """Pass on what is no answer, under the ids of tasks that the client knows."""
    passed = event if call.tasks is None else call.tasks.note_event(call, message, event)
    if passed is not None:
        await answers.send_event(call, passed)


# Few, because a client may send as many names as its headers may be long.
@functools.lru_cache(maxsize=128)
def _may_pass(names: tuple[bytes, ...], modern: bool) -> tuple[bytes, ...]:
    """Of the names of a request's headers, those that go on; clients send the same ones again and again."""
    allowed = _MODERN if modern else _LEGACY
    return tuple(name for name in names if name in allowed or (modern and name.startswith(b"mcp-param-")))


def forwarded(call: CallContext) -> bytes:
    """The lines of the client's headers that go on to the server. Raises RefusedError."""
    headers, lines = call.headers, []
    for name in _may_pass(tuple(headers), call.modern):
        value = headers[name]
        if _CONTROL.search(value) is not None:
            raise RefusedError("gateway.headers_invalid", f"{name.decode('latin-1')} holds control characters.")
        lines.append(b"%b: %b\r\n" % (name, value))
    if b"x-request-timeout" in call.headers:
        lines.append(b"x-request-timeout: %.3f\r\n" % call.watched.left_s(_MAX_WAIT_S))
    if call.upstream_session:
        lines.append(b"mcp-session-id: %b\r\n" % call.upstream_session)
    return b"".join(lines)
