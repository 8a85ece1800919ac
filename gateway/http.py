"""How a request gets from a socket to the application and its answer back: uvicorn's protocol with less work per request.

Use it as `uvicorn --http gateway.http:Protocol`. The parser, pipelining, upgrades, flow control and shutdown are uvicorn's. What
differs is what every request pays for. An answer of known length leaves in one write with its head, as a write is a system
call; header names are checked once, and a whole head with one look for control characters; a connection has one timer for
its silences, not one per answer. Streams are written as they come, their head at once.

A client says the same head again and again. The head of a connection's last call is kept with what was understood of it, and the
next request that begins with the very same bytes, and holds exactly the body that they announce, is not parsed again.

An application may have a method `direct` that names a shorter way for a request, and one `at_once` that takes a request of which
the head is known and the whole body is there without being run as a task. One that knows this protocol finds the
`Cycle` in the scope under CYCLE: it takes a body that is there already, and gives a whole answer, without a message of ASGI
for either. Under HEADERS are the headers by name, of equal names the last.
"""

from __future__ import annotations

import asyncio
import math
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

Message = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]

_NAME = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# All but the tab (RFC 9110 section 5.5).
_CONTROLS = bytes((*range(9), *range(10, 32), 127))
_MAX_KEPT_URL = 256
_MAX_KEPT_HEAD = 8192
CYCLE, HEADERS = "marketplace.cycle", "marketplace.headers"
_NO_BODY = frozenset({204, 304})
# With these, more than the head decides how a request goes on.
_UNUSUAL = frozenset({b"expect", b"upgrade", b"transfer-encoding", b"connection"})


class Head:
    """The bytes of a request's head, and what they mean: the beginnings of the scope of every request that has them."""

    __slots__ = ("digest", "forwarded", "headers", "scope", "size", "text")

    def __init__(self, text: bytes, size: int, scope: dict[str, Any], headers: dict[bytes, bytes]) -> None:
        self.text, self.size = text, size  # `size` is the whole request's
        self.scope, self.headers = scope, headers
        # What the application found out about it, once it has: the hash of its credential, and lines that it passes on.
        self.digest = b""
        self.forwarded = b""


class Protocol(HttpToolsProtocol):
    """One connection of a client."""

    _silent_since = math.inf
    _direct: Callable[[Any], Application | None] | None = None
    _at_once: Callable[[Any], bool] | None = None
    _is_between = True  # the parser has seen the end of every request that it has seen the beginning of
    _begun = 0  # requests
    _head: Head | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._direct = getattr(self.app, "direct", None)
        self._at_once = getattr(self.app, "at_once", None)

    def connection_lost(self, exc: Exception | None) -> None:
        cycle = cast("Cycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        head = self._head
        if head is not None and len(data) == head.size and self._is_between and data.startswith(head.text):
            before = cast("Cycle", self.cycle)
            if before.response_complete and not self._is_too_busy():
                self._silent_since = math.inf
                self._repeat(head, data)
                return
        was_between, begun = self._is_between, self._begun
        super().data_received(data)
        if was_between and self._is_between and self._begun == begun + 1:
            self._keep_head(data)

    def _keep_head(self, data: bytes) -> None:
        """Remember the head of a call that came in one piece, if what it says is all that matters: nothing is under way."""
        cycle = cast("Cycle", self.cycle)
        body, scope = cycle.body, cast("dict[str, Any]", cycle.scope)
        size = len(data) - len(body)
        if not cycle.is_direct or not cycle.keep_alive or size > _MAX_KEPT_HEAD or len(data) > HIGH_WATER_LIMIT:
            return
        headers: dict[bytes, bytes] = scope[HEADERS]
        if _is_plain(data, size, len(body), headers) and data.endswith(body):
            kept = {name: value for name, value in scope.items() if name not in _EACH}
            self._head = Head(data[:size], len(data), kept, headers.copy())

    def _repeat(self, head: Head, data: bytes) -> None:
        """Begin the request that has the kept head."""
        scope = head.scope.copy()
        scope["state"] = self.app_state.copy()
        scope[HEADERS] = head.headers.copy()
        self.scope, self.expect_100_continue = cast("Any", scope), False
        cycle = Cycle(self, keep_alive=True)
        self.cycle = cycle  # type: ignore[assignment]
        scope[CYCLE] = cycle
        cycle.body, cycle.more_body, cycle.is_direct, cycle.head = data[len(head.text) :], False, True, head
        cycle.wake()
        if self._at_once is not None and self._at_once(cycle):
            return
        app = self._direct(scope) if self._direct is not None else None
        self._start_asgi_task(cycle, app or self.app)  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        self._is_between = False
        self._begun += 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, scope = self.parser, self.scope
        scope["method"] = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        scope["http_version"] = version
        if parser.should_upgrade() and self._should_upgrade():
            return
        url = self.url
        path, raw_path, query = _kept_parts(url) if len(url) <= _MAX_KEPT_URL else _parts(url)
        if self.root_path:
            path, raw_path = self.root_path + path, self.root_path.encode("ascii") + raw_path
        scope["path"], scope["raw_path"], scope["query_string"] = path, raw_path, query
        headers = scope[HEADERS] = dict(self.headers)  # type: ignore[literal-required]
        if b"expect" in headers:
            self.expect_100_continue = headers[b"expect"].lower() == b"100-continue"
        before = self.cycle
        cycle = Cycle(self, keep_alive=version != "1.0" and parser.should_keep_alive())
        self.cycle = cycle  # type: ignore[assignment]
        scope[CYCLE] = cycle  # type: ignore[literal-required]
        if self._is_too_busy():
            app: Any = service_unavailable
        else:
            app = self._direct(scope) if self._direct is not None else None
            cycle.is_direct = app is not None
            app = app or self.app
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, app)  # type: ignore[arg-type]
        else:
            # A pipelined request waits for the answer before it.
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))  # type: ignore[arg-type]

    def on_body(self, body: bytes) -> None:
        cycle = cast("Cycle", self.cycle)
        if cycle.response_complete or (self.parser.should_upgrade() and self._should_upgrade()):
            return
        cycle.feed(body)

    def on_message_complete(self) -> None:
        self._is_between = True
        cycle = cast("Cycle", self.cycle)
        if (self.parser.should_upgrade() and self._should_upgrade()) or cycle.response_complete:
            return
        cycle.more_body = False
        cycle.wake()

    def _is_too_busy(self) -> bool:
        limit = self.limit_concurrency
        return limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)

    # Silences between requests

    def _unset_keepalive_if_required(self) -> None:
        self._silent_since = math.inf

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._silent_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """The timer is not moved by each request: when it fires it is set for the rest of the silence, if there is one."""
        self.timeout_keep_alive_task = None
        if self._silent_since == math.inf or self.transport.is_closing():
            return
        left = self._silent_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            self.transport.close()


class Cycle:
    """One request and its answer. `send` and `receive` are what ASGI calls so."""

    __slots__ = (
        "_event",
        "_has_news",
        "_head",
        "_is_chunked",
        "_is_continue_due",
        "_left",
        "_protocol",
        "body",
        "disconnected",
        "flow",
        "head",
        "is_direct",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "transport",
    )

    def __init__(self, protocol: Protocol, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self.transport, self.flow, self.scope = protocol.transport, protocol.flow, protocol.scope
        self.keep_alive = keep_alive
        self.is_direct = False  # what takes it is a shorter way
        self.head: Head | None = None  # where it was known
        self._is_continue_due = protocol.expect_100_continue
        self.body: bytes | bytearray = b""
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False
        self._event: asyncio.Event | None = None  # of whoever waits in `receive`
        self._has_news = False
        self._head = b""  # of an answer whose body is due
        self._is_chunked = False
        self._left = 0  # bytes of the body that its length still promises

    @property
    def message_event(self) -> Cycle:
        """What uvicorn sets when the connection is lost."""
        return self

    def set(self) -> None:
        self.wake()

    def wake(self) -> None:
        """Something arrived, or nothing will any more."""
        self._has_news = True
        if self._event is not None:
            self._event.set()

    def feed(self, data: bytes) -> None:
        if not self.body:
            self.body = data
        else:
            if not isinstance(self.body, bytearray):
                self.body = bytearray(self.body)
            self.body += data
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.wake()

    def whole_body(self) -> bytes | None:
        """The body, once, when all of it is there and nobody has begun to receive it."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        self.flow.resume_reading()
        self._is_continue_due = self._has_news = False
        body, self.body = self.body, b""
        return bytes(body)

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """A whole answer in one write. False, and nothing is sent, where only messages can say it.

        `lines` are header lines, each with its end, that hold nothing from outside; the length is added.
        """
        if self.disconnected:
            return True
        if self.response_started or self.flow.write_paused or self.scope["method"] == "HEAD":
            return False
        self.response_started = self.response_complete = True
        self._is_continue_due = False
        protocol = self._protocol
        closing = b"" if self.keep_alive else b"connection: close\r\n"
        self.transport.write(
            b"%b\r\n%b%b%bcontent-length: %d\r\n\r\n%b"
            % (
                _status_line(status),
                _default_lines(protocol.server_state.default_headers),
                lines,
                closing,
                len(body),
                body,
            )
        )
        if protocol.access_log:
            self._log(status)
        self._has_news = True
        if self._event is not None:
            self._event.set()
        if not self.keep_alive:
            self.transport.close()
        protocol.on_response_complete()
        return True

    def begin(self, app: Application) -> None:
        """Let an application answer what was taken at once and is not done."""
        self._protocol._start_asgi_task(self, app)  # type: ignore[arg-type]

    async def run_asgi(self, app: Application) -> None:
        log = self._protocol.logger
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as exc:
            log.error("Exception in ASGI application\n", exc_info=exc)
        if self.response_complete or self.disconnected:
            return
        if not self.response_started:
            log.error("The application answered nothing.")
            await self._say_internal_error()
        else:
            log.error("The application did not complete its answer.")
            self.transport.close()

    async def receive(self) -> Message:
        if self._is_continue_due and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._is_continue_due = False
        if not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            if not self._has_news:
                await self._news()
            self._has_news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        message = {"type": "http.request", "body": bytes(self.body), "more_body": self.more_body}
        self.body = b""
        return message

    async def send(self, message: Message) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"An answer begins with http.response.start, not with {kind}.")
            self._begin(message)
        elif self.response_complete:
            raise RuntimeError(f"{kind} after the end of the answer.")
        elif kind != "http.response.body":
            raise RuntimeError(f"An answer goes on with http.response.body, not with {kind}.")
        else:
            self._go_on(message.get("body", b""), is_last=not message.get("more_body", False))

    async def _news(self) -> None:
        event = self._event
        if event is None:
            event = self._event = asyncio.Event()
        event.clear()
        await event.wait()

    def _begin(self, message: Message) -> None:
        self._is_continue_due = False
        status = message["status"]
        lines = [_status_line(status), *map(_line, self._protocol.server_state.default_headers)]
        length, is_chunked, says_close = _add(message.get("headers", ()), lines)
        if says_close:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        if length < 0 and not is_chunked and self.scope["method"] != "HEAD" and status not in _NO_BODY:
            is_chunked = True
            lines.append(b"transfer-encoding: chunked")
        lines.append(b"\r\n")
        head = b"\r\n".join(lines)
        if len(head) - len(head.translate(None, _CONTROLS)) != 2 * len(lines):
            raise RuntimeError("A header of the answer holds control characters.")
        self.response_started = True
        self._is_chunked, self._left = is_chunked, 0 if is_chunked else max(length, 0)
        if self._protocol.access_log:
            self._log(status)
        if self._left:
            self._head = head
        else:
            self.transport.write(head)

    def _go_on(self, body: bytes, *, is_last: bool) -> None:
        if self.scope["method"] == "HEAD":
            body, self._left = b"", 0
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"0\r\n\r\n" if is_last else b"")
        else:
            self._left -= len(body)
            if self._left < 0 or (is_last and self._left):
                raise RuntimeError("The answer has another length than its head says.")
        if self._head:
            body, self._head = self._head + body, b""
        if body:
            self.transport.write(body)
        if is_last:
            self.response_complete = True
            self.wake()
            if not self.keep_alive:
                self.transport.close()
            self._protocol.on_response_complete()

    async def _say_internal_error(self) -> None:
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"21"),
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    def _log(self, status: int) -> None:
        scope = self.scope
        where = (get_client_addr(scope), scope["method"], get_path_with_query_string(scope), scope["http_version"])
        self._protocol.access_logger.info('%s - "%s %s HTTP/%s" %d', *where, status)


# Each request has its own.
_EACH = frozenset({"state", CYCLE, HEADERS})


def _is_plain(data: bytes, size: int, length: int, headers: dict[bytes, bytes]) -> bool:
    """Whether a head that ends at `size` says everything once, and announces a body of just this length."""
    return (
        data[size - 4 : size] == b"\r\n\r\n"
        and data.startswith(b"POST ")
        and headers.get(b"content-length") == b"%d" % length
        and _UNUSUAL.isdisjoint(headers)
    )


def _add(headers: Iterable[tuple[bytes, bytes]], lines: list[bytes]) -> tuple[int, bool, bool]:
    """Add header lines; the length that they tell or -1, whether they say chunked, and whether they close the connection."""
    length, is_chunked, says_close = -1, False, False
    for name, value in headers:
        prefix = _prefix(name)
        lines.append(prefix + value)
        if prefix == b"content-length: ":
            length = int(value)
        elif prefix == b"transfer-encoding: ":
            is_chunked = value.lower() == b"chunked"
        elif prefix == b"connection: ":
            says_close = says_close or b"close" in {token.strip().lower() for token in value.split(b",")}
    return length, is_chunked, says_close


def _parts(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, the same as it was sent, and query. Raises what the parser takes for a malformed request."""
    parsed: Any = httptools.parse_url(url)
    raw_path = parsed.path
    path = raw_path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path, raw_path, parsed.query or b""


_kept_parts = lru_cache(maxsize=1024)(_parts)


@lru_cache(maxsize=128)
def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}".encode()


@lru_cache(maxsize=512)
def _prefix(name: bytes) -> bytes:
    """The beginning of a header line. Raises RuntimeError for what is no name (RFC 9110 section 5.6.2)."""
    if not name or not _NAME.issuperset(name):
        raise RuntimeError("A header of the answer has no proper name.")
    return name.lower() + b": "


_defaults: tuple[list[tuple[bytes, bytes]] | None, bytes] = (None, b"")


def _default_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """What uvicorn adds to every answer; it makes a list each second, for the date in it."""
    global _defaults  # noqa: PLW0603 - one value per process, made again when there is another list
    known, lines = _defaults
    if known is not headers:
        lines = b"".join([_line(header) + b"\r\n" for header in headers])
        _defaults = (headers, lines)
    return lines


@lru_cache(maxsize=16)
def _line(header: tuple[bytes, bytes]) -> bytes:
    return _prefix(header[0]) + header[1]
