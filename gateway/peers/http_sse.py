"""Closed: messages go only to an address of the origin that was checked.

The messages of one session over HTTP+SSE (2024-11-05): a GET stream names the address that messages are posted to, and brings
every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

from core import egress
from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.mcp import sse
from gateway.mcp.errors import RefusedError
from gateway.peers import Json
from gateway.peers.exchange import Exchange
from gateway.peers.modern import read_event
from gateway.peers.session import Session, SessionLostError
from gateway.peers.streamable import NotLegacyError
from gateway.upstream import wire
from gateway.upstream.client import Upstreams, post_head
from gateway.upstream.http1 import Reply, UpstreamBrokenError

_ENDPOINT = b"endpoint"
_HELLO_ID = 0


class HttpSseLink:
    def __init__(
        self, config: GatewayConfig, upstreams: Upstreams, url: str, spawn: Callable[[Any], asyncio.Task[Any]]
    ) -> None:
        self._config, self._upstreams, self._url, self._spawn = config, upstreams, url, spawn
        self._post_head = b""  # holds the session's own address: as secret as a session id
        self._reading: asyncio.Task[Any] | None = None

    async def start(self, session: Session, call: CallContext, hello: bytes) -> Json:
        loop = asyncio.get_running_loop()
        endpoint: asyncio.Future[bytes] = loop.create_future()
        welcome: asyncio.Future[Json] = loop.create_future()
        self._reading = self._spawn(self._read(session, call, endpoint, welcome))
        try:
            self._post_head = self._head_for(await endpoint)
            await self.tell(call, hello)
            return await welcome
        except BaseException:
            self._reading.cancel()
            raise

    async def listen(self, session: Session, call: CallContext) -> bool:
        return True

    async def ask(self, session: Session, exchange: Exchange, body: bytes) -> None:
        await self.tell(exchange.call, body)

    async def tell(self, call: CallContext, body: bytes) -> None:
        target = await self._upstreams.target(self._url)
        head = b"%b%b%bcontent-length: %d\r\n\r\n" % (
            self._post_head,
            wire.POST_TYPES,
            self._head(call, body),
            len(body),
        )
        reply = await self._upstreams.exchange(target, head + body)
        try:
            await reply.read_all(self._config.limits.reply_bytes)
        finally:
            reply.close()
        if reply.status in {404, 410}:
            raise SessionLostError
        if reply.status >= 300:
            raise UpstreamBrokenError(f"HTTP {reply.status} to a message")

    async def end(self, call: CallContext) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read(
        self, session: Session, call: CallContext, endpoint: asyncio.Future[bytes], welcome: asyncio.Future[Json]
    ) -> None:
        error: Exception = UpstreamBrokenError("the server's stream has ended")
        try:
            target = await self._upstreams.target(self._url)
            head = target.head(b"GET") + b"accept: text/event-stream\r\n" + self._head(call, b"") + b"\r\n"
            reply = await self._upstreams.exchange(target, head)
            try:
                await self._take(session, reply, endpoint, welcome)
            finally:
                reply.close()
        except Exception as exc:  # noqa: BLE001 - told to everybody who waits
            error = exc
        for waiting in (endpoint, welcome):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # seen, whether or not somebody still waits
        session.fail(error)

    async def _take(
        self, session: Session, reply: Reply, endpoint: asyncio.Future[bytes], welcome: asyncio.Future[Json]
    ) -> None:
        if reply.status != 200 or not wire.is_event_stream(reply):
            raise NotLegacyError(reply.status)
        async for event in wire.raw_events(reply, self._config.limits.reply_bytes):
            if sse.field_of(event, b"event") == _ENDPOINT:
                if not endpoint.done():
                    endpoint.set_result(sse.data_of(event))
                continue
            message = read_event(event)
            if message is None:
                continue
            if not welcome.done() and sse.is_answer(message) and message.get("id") == _HELLO_ID:
                welcome.set_result(message)
            else:
                await session.receive(message, None)

    def _head_for(self, address: bytes) -> bytes:
        """The constant head of a POST to the address that the server named. Raises RefusedError or EgressRefusedError."""
        base = egress.parse_url(self._url, self._config.egress_allow)
        try:
            named = egress.parse_url(urljoin(base.url, address.decode("ascii")), self._config.egress_allow)
        except ValueError as exc:
            raise RefusedError("upstream.failed", detail="the server named no usable address for messages") from exc
        if named.origin != base.origin:
            raise RefusedError("upstream.refused", detail="the server named an address of another origin")
        return post_head(named)

    def _head(self, call: CallContext, body: bytes) -> bytes:
        return self._upstreams.credentials.headers(call, body)
