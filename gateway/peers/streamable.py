"""Closed: a reply that is no answer ends the exchange with an error.

The messages of one session over Streamable HTTP (2025-03-26 to 2025-11-25): a POST per message, its answer as a document or a
stream, and a GET stream for what the server says on its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Any

from core.errors import MarketplaceError
from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.mcp import outcomes, sse
from gateway.mcp.errors import RefusedError
from gateway.peers import Json
from gateway.peers.exchange import Exchange
from gateway.peers.modern import read_document, read_event
from gateway.peers.session import Session, SessionLostError
from gateway.upstream import wire
from gateway.upstream.client import Target, Upstreams
from gateway.upstream.http1 import Reply, UpstreamBrokenError

_SESSION_ID = re.compile(rb"[\x21-\x7e]{1,1024}\Z")
# A server without an ear for `initialize` at this address may speak the transport of 2024-11-05.
_NOT_HERE = frozenset({400, 404, 405, 406, 415})
_SETTLE_S = 1.0
_RETRY_S = 1.0
_MAX_RETRY_S = 30.0
_TRIES = 5
_DRAIN_S = 1.0


class NotLegacyError(Exception):
    """The server does not understand `initialize` at this address."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class StreamableLink:
    def __init__(
        self, config: GatewayConfig, upstreams: Upstreams, url: str, spawn: Callable[[Any], asyncio.Task[Any]]
    ) -> None:
        self._config, self._upstreams, self._url, self._spawn = config, upstreams, url, spawn
        self._lines = b""
        self._has_session = False
        self._hearing: asyncio.Task[Any] | None = None

    async def start(self, session: Session, call: CallContext, hello: bytes) -> Json:
        reply = await self._post(call, hello)
        outcomes.note_status(call, reply)
        try:
            self._keep_session(reply)
            message = await self._first_answer(reply)
        finally:
            reply.close()
        if message is None:
            if reply.status in _NOT_HERE:
                raise NotLegacyError(reply.status)
            raise RefusedError("upstream.failed", detail=f"HTTP {reply.status} to initialize")
        result = message.get("result")
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        if reply.status in _NOT_HERE and result is None:
            raise NotLegacyError(reply.status)
        if isinstance(version, str) and _SESSION_ID.match(version.encode()):
            self._lines += b"mcp-protocol-version: %b\r\n" % version.encode()
        return message

    async def listen(self, session: Session, call: CallContext) -> bool:
        ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._hearing = self._spawn(self._hear(session, call, ready))
        try:
            async with asyncio.timeout(_SETTLE_S):
                return await asyncio.shield(ready)
        except TimeoutError:
            return True

    async def ask(self, session: Session, exchange: Exchange, body: bytes) -> None:
        reply = await self._post(exchange.call, body)
        place = _Place()
        try:
            if await self._take(session, exchange, reply, place):
                return
        finally:
            reply.close()
        for _ in range(_TRIES):
            # The server may drop a stream and give the rest to a GET that names the last event (2025-11-25).
            await asyncio.sleep(place.wait_s)
            try:
                reply = await self._get(exchange.call, place.last_id)
            except UpstreamBrokenError as exc:
                # The request itself was sent before, whatever became of this one.
                raise UpstreamBrokenError(str(exc)) from exc
            try:
                if reply.status != 200 or not wire.is_event_stream(reply):
                    break
                if await self._take(session, exchange, reply, place):
                    return
            finally:
                reply.close()
        raise RefusedError("upstream.failed", detail="the stream ended without an answer")

    async def tell(self, call: CallContext, body: bytes) -> None:
        reply = await self._post(call, body)
        try:
            data = await reply.read_all(self._config.limits.reply_bytes)
        finally:
            reply.close()
        if _is_lost(reply.status, read_document(data), has_session=self._has_session):
            raise SessionLostError
        if reply.status >= 300:
            raise UpstreamBrokenError(f"HTTP {reply.status} to a message")

    async def end(self, call: CallContext) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
        if not self._has_session:
            return
        target = await self._upstreams.target(self._url)
        reply = await self._upstreams.exchange(target, target.head(b"DELETE") + self._head(call) + b"\r\n")
        try:
            await reply.read_all(self._config.limits.reply_bytes)
        finally:
            reply.close()

    async def _take(self, session: Session, exchange: Exchange, reply: Reply, place: _Place) -> bool:
        """Hand over the messages of a reply; true when the answer was among them."""
        outcomes.note_status(exchange.call, reply)
        if wire.is_event_stream(reply) and reply.status == 200:
            async for event in wire.raw_events(reply, self._config.limits.reply_bytes):
                place.note(event)
                message = read_event(event)
                if message is None:
                    continue
                await session.receive(message, exchange)
                if exchange.answered:
                    await _drain(reply)
                    return True
            if place.last_id:
                return False
            raise RefusedError("upstream.failed", detail="the stream ended without an answer")
        data = await reply.read_all(self._config.limits.reply_bytes)
        outcomes.require_welcome(reply.status)
        message = read_document(data) if wire.is_json(reply) else None
        if _is_lost(reply.status, message, has_session=self._has_session):
            raise SessionLostError
        if message is None or not sse.is_answer(message):
            raise RefusedError("upstream.failed", detail=f"HTTP {reply.status}, no JSON-RPC answer")
        if not exchange.is_own_id(message.get("id")):
            if reply.status < 400 or "error" not in message:
                raise RefusedError("upstream.failed", detail="the reply answers another request")
            message["id"] = exchange.number
        await session.receive(message, exchange)
        return True

    async def _hear(self, session: Session, call: CallContext, ready: asyncio.Future[bool]) -> None:
        """Keep the GET stream open for as long as the session lives."""
        place, failures = _Place(), 0
        while not session.lost and failures < _TRIES:
            try:
                reply = await self._get(session.call or call, place.last_id)
                try:
                    is_open = reply.status == 200 and wire.is_event_stream(reply)
                    if not ready.done():
                        ready.set_result(is_open)
                    if not is_open:
                        break
                    async for event in wire.raw_events(reply, self._config.limits.reply_bytes):
                        failures = 0
                        place.note(event)
                        if (message := read_event(event)) is not None:
                            await session.receive(message, None)
                finally:
                    reply.close()
            except (UpstreamBrokenError, MarketplaceError):
                # Also when too many are at the server: whoever waits for this stream is told that there is none.
                pass
            failures += 1
            await asyncio.sleep(place.wait_s)
        if not ready.done():
            ready.set_result(False)
        for listener in tuple(session.listeners):
            await listener.put(UpstreamBrokenError("the server's stream of notifications has ended"))

    async def _first_answer(self, reply: Reply) -> Json | None:
        limit = self._config.limits.reply_bytes
        if wire.is_event_stream(reply) and reply.status == 200:
            async for event in wire.raw_events(reply, limit):
                message = read_event(event)
                if message is not None and sse.is_answer(message):
                    await _drain(reply)
                    return message
            return None
        data = await reply.read_all(limit)
        outcomes.require_welcome(reply.status)
        message = read_document(data) if wire.is_json(reply) else None
        return message if message is not None and sse.is_answer(message) else None

    async def _post(self, call: CallContext, body: bytes) -> Reply:
        target = await self._upstreams.target(self._url)
        head = b"%b%b%bcontent-length: %d\r\n\r\n" % (
            target.post_head,
            wire.POST_TYPES,
            self._head(call, body),
            len(body),
        )
        return await self._upstreams.exchange(target, head + body)

    async def _get(self, call: CallContext, last_id: bytes) -> Reply:
        target: Target = await self._upstreams.target(self._url)
        resume = b"last-event-id: %b\r\n" % last_id if last_id else b""
        head = target.head(b"GET") + b"accept: text/event-stream\r\n" + self._head(call) + resume + b"\r\n"
        return await self._upstreams.exchange(target, head)

    def _head(self, call: CallContext, body: bytes = b"") -> bytes:
        return self._upstreams.credentials.headers(call, body) + self._lines

    def _keep_session(self, reply: Reply) -> None:
        session_id = reply.header(b"mcp-session-id")
        if session_id and reply.status < 300:
            if not _SESSION_ID.match(session_id):
                raise RefusedError("upstream.failed", detail="the session id holds characters that it may not hold")
            self._lines, self._has_session = b"mcp-session-id: %b\r\n" % session_id, True


class _Place:
    """How far a stream was read, and how long the server wants to be left alone after it drops it."""

    __slots__ = ("last_id", "wait_s")

    def __init__(self) -> None:
        self.last_id, self.wait_s = b"", _RETRY_S

    def note(self, event: bytes) -> None:
        event_id = sse.field_of(event, b"id")
        if event_id and _SESSION_ID.match(event_id):
            self.last_id = event_id
        retry = sse.field_of(event, b"retry")
        if retry.isdigit():
            self.wait_s = min(int(retry[:9]) / 1000, _MAX_RETRY_S)


def _is_lost(status: int, message: Json | None, *, has_session: bool) -> bool:
    """Whether the server says that it does not know the session. 404 is the rule; some say 400 and why."""
    if not has_session:
        return False
    if status == 404:
        return True
    error = message.get("error") if message is not None else None
    text = error.get("message") if isinstance(error, dict) else None
    return status == 400 and isinstance(text, str) and "session" in text.lower()


async def _drain(reply: Reply) -> None:
    """Let the server finish its stream, so that the connection can be used again."""
    with contextlib.suppress(UpstreamBrokenError, TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while await reply.read():
                pass
