"""A small HTTP/1.1 client for the hot path: one connection per request in flight, parsed by llhttp, to a checked address.

It does what the gateway needs and nothing else: no redirects, cookies, proxies or decompression. The caller names the address
to connect to, so what was checked is what is used. A reply that is complete when its first bytes arrive costs one wake-up.
A connection returns to its pool only when both sides agree on where the message ended; anything else closes it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import ClassVar, cast

import httptools

_PAUSE_AT = 256 * 1024
_MAX_HEAD_BYTES = 64 * 1024
# Below the keep-alive of common servers (uvicorn: 5 s), so that a reused connection is not just being closed.
IDLE_S = 4.0


class UpstreamBrokenError(Exception):
    """No usable reply. `sent` tells whether the server may have seen the request; `code` is of the table of refusals.

    `stale`: it went out on a connection that was kept from an earlier request, and that ended without a byte of a reply. Most
    often the server was just closing it (RFC 9112, 9.3.1), but nobody can know.
    """

    code: ClassVar[str] = "upstream.failed"

    def __init__(self, message: str, *, sent: bool = True, stale: bool = False) -> None:
        super().__init__(message)
        self.sent, self.stale = sent, stale


class ReplyTooLargeError(UpstreamBrokenError):
    """The server answers more than is accepted, which says something about what it was asked and nothing about its health."""

    code: ClassVar[str] = "upstream.too_large"


class Reply:
    """A response on its way in: status and headers are there, the body comes by `read`."""

    __slots__ = ("_conn", "_parts", "_size", "complete", "headers", "kind", "status")

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._size = 0
        self.complete = False
        self.kind: bytes | None = None  # its media type, of gateway.upstream.wire

    def header(self, name: bytes) -> bytes:
        """The value of a header, empty when it is missing. `name` is lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return b""

    async def read(self) -> bytes:
        """The bytes that have arrived, waiting for some; empty at the end. Raises UpstreamBrokenError."""
        while not self._parts:
            if self.complete:
                return b""
            await self._conn.wait()
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts, self._size = [], 0
        self._conn.resume()
        return data

    def whole(self, limit: int) -> bytes:
        """The whole body of a reply that is complete. Raises ReplyTooLargeError beyond `limit` bytes."""
        if self._size > limit:
            raise ReplyTooLargeError(f"the reply is larger than {limit} bytes")
        parts, self._parts, self._size = self._parts, [], 0
        self._conn.resume()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def read_all(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamBrokenError when it breaks off, ReplyTooLargeError beyond `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > limit:
                raise ReplyTooLargeError(f"the reply is larger than {limit} bytes")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def feed(self, data: bytes) -> bool:
        """Take body bytes; true when the reader should catch up first."""
        self._parts.append(data)
        self._size += len(data)
        return self._size > _PAUSE_AT

    def close(self) -> None:
        """Give the connection back when the reply was read to its end, else drop it, which tells the server to stop."""
        self._conn.release(self)


class Connection(asyncio.Protocol):
    """One socket. `send` may be called again only after the reply was closed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._reply: Reply | None = None
        self._started: asyncio.Future[Reply] | None = None
        self._heard: Callable[[UpstreamBrokenError | None], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._head_done = False
        self._head_bytes = 0
        self._keep_alive = False
        self._error: UpstreamBrokenError | None = None
        self._paused = False
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return self._error is None and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> asyncio.Future[Reply]:
        """A future that is done when the reply's headers are in."""
        self._started = self._pool.loop.create_future()
        self._begin(request)
        return self._started

    def ask(self, request: bytes, heard: Callable[[UpstreamBrokenError | None], None]) -> None:
        """The same without a future: `heard` is called once, as soon as the headers are in or an error ended the wait."""
        self._heard = heard
        self._begin(request)

    def started(self) -> asyncio.Future[Reply]:
        """A future instead of what `ask` was given, for whoever would rather wait."""
        self._heard = None
        started = self._started = self._pool.loop.create_future()
        self._notify()
        if self._error is not None and not started.done():
            started.set_exception(self._error)
        return started

    @property
    def reply(self) -> Reply | None:
        """What is on its way in."""
        return self._reply

    def _begin(self, request: bytes) -> None:
        transport = self._transport
        assert transport is not None
        assert self._reply is None
        self._parser = httptools.HttpResponseParser(self)
        self._reply = Reply(self)
        self._head_done, self._head_bytes, self._keep_alive = False, 0, False
        self._pool.busy += 1
        transport.write(request)

    def wait(self) -> asyncio.Future[None]:
        if self._error is not None:
            raise self._error
        self._waiter = self._pool.loop.create_future()
        return self._waiter

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def release(self, reply: Reply) -> None:
        if self._reply is not reply:
            return
        self._reply = self._started = self._waiter = self._heard = None
        self._pool.busy -= 1
        self._parser = None
        if reply.complete and self._keep_alive and self.usable:
            self._pool.give_back(self)
        else:
            self.abort()

    def abandon(self) -> None:
        """Drop a request whose reply has not begun."""
        if self._reply is not None:
            self._reply.complete = False
            self.release(self._reply)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, though they do all that one does.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._reply is None or self._reply.complete:
            # Bytes that nobody asked for: the two sides disagree about where messages end.
            self._break(UpstreamBrokenError("unexpected bytes from the server"))
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._break(UpstreamBrokenError(f"not a valid HTTP reply: {type(exc).__name__}"))
            return
        if not self._head_done and self._head_bytes > _MAX_HEAD_BYTES:
            self._break(UpstreamBrokenError("the reply's headers are larger than is accepted"))
            return
        self._notify()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        reply = self._reply
        if reply is not None and self._head_done and not reply.complete and self._ends_at_close(reply):
            reply.complete = True
        stale = reply is not None and not self._head_bytes and self.idle_since > 0
        self._error = self._error or UpstreamBrokenError("the server closed the connection", stale=stale)
        self._notify()
        if self._started is not None and not self._started.done():
            self._started.set_exception(self._error)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._error)
        if (heard := self._heard) is not None:
            self._heard = None
            heard(self._error)
        self._pool.forget(self)

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._reply is not None and self._reply.complete:
            self._error = UpstreamBrokenError("a second reply to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        reply = self._reply
        if reply is not None and not self._head_done:
            reply.headers.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        reply, parser = self._reply, self._parser
        if reply is None or parser is None or reply.complete:
            return
        reply.status = parser.get_status_code()
        if reply.status < 200:
            reply.headers.clear()
            return
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        reply = self._reply
        if reply is None or reply.complete:
            return
        if reply.feed(body) and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is not None and self._head_done and self._parser is not None:
            reply.complete = True
            # Only here: once the message is done the parser has forgotten what kind it was.
            self._keep_alive = self._parser.should_keep_alive()

    def _notify(self) -> None:
        started, waiter = self._started, self._waiter
        if self._head_done and started is not None and not started.done() and self._reply is not None:
            started.set_result(self._reply)
        if self._head_done and (heard := self._heard) is not None:
            self._heard = None
            heard(None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _break(self, error: UpstreamBrokenError) -> None:
        self._error = self._error or error
        if self._transport is not None:
            self._transport.abort()

    @staticmethod
    def _ends_at_close(reply: Reply) -> bool:
        """A reply without length and without chunks is complete when the server closes."""
        return not reply.header(b"content-length") and not reply.header(b"transfer-encoding")


class Pool:
    """Connections to one checked address. At most `limit` requests at once; idle connections are closed after IDLE_S."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        name: str,
        connect_s: float,
        tls_s: float,
        limit: int,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._address, self._port, self._tls, self._name = address, port, tls, name
        self._connect_s, self._tls_s, self._limit = connect_s, tls_s, limit
        self._idle: deque[Connection] = deque()
        self._all: set[Connection] = set()
        self._opening = 0
        self._retired = False
        self.busy = 0

    @property
    def full(self) -> bool:
        return self.busy + self._opening >= self._limit

    def reusable(self) -> Connection | None:
        """The most recently used idle connection that is still good."""
        while self._idle:
            conn = self._idle.pop()
            if conn.usable and self.loop.time() - conn.idle_since < IDLE_S:
                return conn
            conn.abort()
        return None

    async def connect(self) -> Connection:
        """A fresh connection. Raises UpstreamBrokenError with `sent` false."""
        self._opening += 1
        try:
            conn = await (self._connect_plain() if self._tls is None else self._connect_tls(self._tls))
        except (OSError, ssl.SSLError, TimeoutError) as exc:
            raise UpstreamBrokenError(f"could not connect: {type(exc).__name__}", sent=False) from exc
        finally:
            self._opening -= 1
        self._all.add(conn)
        return conn

    async def _connect_plain(self) -> Connection:
        async with asyncio.timeout(self._connect_s):
            _, conn = await self.loop.create_connection(lambda: Connection(self), self._address, self._port)
        return conn

    async def _connect_tls(self, context: ssl.SSLContext) -> Connection:
        """The connection and what is agreed on it each have a time of their own."""
        sock = socket.socket(socket.AF_INET6 if ":" in self._address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(self._connect_s):
                await self.loop.sock_connect(sock, (self._address, self._port))
            async with asyncio.timeout(self._tls_s):
                _, conn = await self.loop.create_connection(
                    lambda: Connection(self), sock=sock, ssl=context, server_hostname=self._name
                )
        except BaseException:
            sock.close()
            raise
        return conn

    def give_back(self, conn: Connection) -> None:
        if self._retired:
            conn.abort()
            return
        conn.idle_since = self.loop.time()
        self._idle.append(conn)

    def put_back(self, conn: Connection) -> None:
        """It was taken, and not used."""
        self._idle.append(conn)

    def forget(self, conn: Connection) -> None:
        self._all.discard(conn)

    def reap(self) -> None:
        """Close connections that have been idle too long; the oldest are on the left."""
        limit = self.loop.time() - IDLE_S
        while self._idle and (self._idle[0].idle_since < limit or not self._idle[0].usable):
            self._idle.popleft().abort()

    def retire(self) -> None:
        """Close what is idle now and what is in use when its reply ends."""
        self._retired = True
        while self._idle:
            self._idle.pop().abort()

    def close(self) -> None:
        for conn in tuple(self._all):
            conn.abort()
