"""One `tools/call` over HTTP, as any client sends it, kept in full: what was sent, what came back, and when.

Streaming answers are read as they come, so that progress is seen and a cancelled call is hung up on, which the gateway takes
as the client leaving. Bounded in size and time. Knows nothing of Django.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.mcp import params, sse, versions
from marketplace.playground import masks

BYTES_MAX: Final = 512 * 1024
MESSAGES_MAX: Final = 200
CLIENT: Final = {"name": "MCP Marketplace playground", "version": "1.0"}
_POLL_S: Final = 0.4
_CONNECT_S: Final = 5.0

OnProgress = Callable[[str, int | None], None]
IsCancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent."""

    gateway: str  # where the gateway is reached, without a path
    host: str  # as which host
    path: str
    headers: tuple[tuple[str, str], ...]  # all but the credential
    body: bytes
    token: str = field(repr=False)


@dataclass(slots=True)
class Exchange:
    """What happened. Times in ms from the moment of sending; None where it did not come to that."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""
    messages: list[Any] = field(default_factory=list)
    first_byte_ms: float | None = None
    total_ms: float = 0.0
    truncated: bool = False
    cancelled: bool = False
    failure: str = ""

    @property
    def answer(self) -> Any:
        """The JSON-RPC answer, or None."""
        found = [each for each in self.messages if sse.is_answer(each)]
        return found[-1] if found else None

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


def prepare(
    *,
    public_url: str,
    gateway: str,
    server: str,
    tool: str,
    arguments: dict[str, Any],
    schema: Any,
    mark: str,
    token: str,
) -> Prepared:
    """The request that calls a tool. `mark` is its JSON-RPC id and names its progress."""
    meta = {
        "progressToken": mark,
        versions.META_VERSION: versions.FIRST_MODERN.decode(),
        versions.META_CAPABILITIES: {},
        versions.META_CLIENT: CLIENT,
    }
    message = {
        "jsonrpc": "2.0",
        "id": mark,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": meta},
    }
    mirrored = params.header_lines(schema, arguments).decode("latin-1").splitlines()
    headers = (
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
        ("MCP-Protocol-Version", versions.FIRST_MODERN.decode()),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", versions.encode_header(tool).decode()),
        *((name, value) for name, _, value in (line.partition(": ") for line in mirrored)),
    )
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    return Prepared(gateway.rstrip("/"), urlsplit(public_url).netloc, f"/mcp/{server}", headers, body, token)


def sent(prepared: Prepared) -> dict[str, Any]:
    """The request as it may be kept: without its credential."""
    headers = [("Host", prepared.host), ("Authorization", f"Bearer {masks.MASK}"), *prepared.headers]
    return {"method": "POST", "path": prepared.path, "headers": headers, "body": prepared.body.decode()}


def perform(prepared: Prepared, *, total_s: float, on_progress: OnProgress, is_cancelled: IsCancelled) -> Exchange:
    """Send the request and read the answer to its end. Never raises for what the network or the gateway does."""
    exchange, began = Exchange(), time.perf_counter()
    line, intake = _Line(prepared, total_s), _Intake(exchange, on_progress)
    line.start()
    try:
        for kind, value in line.events(began + total_s, is_cancelled):
            elapsed = (time.perf_counter() - began) * 1000
            if kind == "head":
                exchange.status, exchange.headers = value
                exchange.first_byte_ms = elapsed
            elif kind == "data":
                intake.take(value)
                if exchange.truncated:
                    break
            else:
                exchange.cancelled, exchange.failure = kind == "cancelled", value
    finally:
        line.hang_up()
    exchange.total_ms = (time.perf_counter() - began) * 1000
    intake.close()
    return exchange


class _Intake:
    """What has come so far: bytes, and the messages in them."""

    def __init__(self, exchange: Exchange, on_progress: OnProgress) -> None:
        self._exchange, self._on_progress = exchange, on_progress
        self._cutter = sse.EventCutter(BYTES_MAX)
        self._raw = bytearray()

    def take(self, chunk: bytes) -> None:
        exchange = self._exchange
        exchange.truncated = len(self._raw) + len(chunk) > BYTES_MAX
        self._raw += chunk[: BYTES_MAX - len(self._raw)]
        if "text/event-stream" not in exchange.header("content-type"):
            return
        with contextlib.suppress(sse.EventTooLargeError):
            for event in self._cutter.feed(chunk):
                self._see(event)

    def _see(self, event: bytes) -> None:
        try:
            message = sse.message_of(event)
        except ValueError:
            return
        if message is None or (len(self._exchange.messages) >= MESSAGES_MAX and not sse.is_answer(message)):
            return
        self._exchange.messages.append(message)
        if message.get("method") == "notifications/progress":
            self._on_progress(*_progress(message.get("params")))

    def close(self) -> None:
        self._exchange.body = self._raw.decode("utf-8", "replace")
        if not self._exchange.messages and self._raw:
            _take_document(self._exchange)


def _take_document(exchange: Exchange) -> None:
    with contextlib.suppress(ValueError, RecursionError):
        exchange.messages = [json.loads(exchange.body)]


def _progress(given: Any) -> tuple[str, int | None]:
    told = given if isinstance(given, dict) else {}
    done, whole = told.get("progress"), told.get("total")
    words = told.get("message")
    percent = None
    if isinstance(done, int | float) and isinstance(whole, int | float) and whole > 0:
        percent = round(max(0.0, min(100.0, 100.0 * done / whole)))
    return (words if isinstance(words, str) else f"{done} of {whole}" if percent is not None else "Under way"), percent


class _Line(threading.Thread):
    """The connection, read in a thread of its own, so that whoever waits can look up and hang up."""

    def __init__(self, prepared: Prepared, total_s: float) -> None:
        super().__init__(daemon=True, name="playground-line")
        self._prepared, self._total_s = prepared, total_s
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._socket: socket.socket | None = None
        self._over = threading.Event()

    def events(self, until: float, is_cancelled: IsCancelled) -> Iterator[tuple[str, Any]]:
        """("head", (status, headers)), ("data", bytes) …, and ("failed" | "cancelled", words) where it did not end by itself."""
        look_up = time.perf_counter() + _POLL_S
        while True:
            kind, value = self._next()
            if kind not in {"", "end"}:
                yield kind, value
            if kind in {"end", "failed"}:
                return
            if (now := time.perf_counter()) >= look_up:
                look_up = now + _POLL_S
                if is_cancelled():
                    yield "cancelled", "You cancelled it."
                    return
                if now > until:
                    yield "failed", f"There was no end after {self._total_s:.0f} seconds."
                    return

    def _next(self) -> tuple[str, Any]:
        try:
            return self._queue.get(timeout=_POLL_S)
        except queue.Empty:
            return "", None

    def hang_up(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        connection = _connection(self._prepared.gateway)
        try:
            connection.connect()
            self._socket = connection.sock
            self._socket.settimeout(self._total_s)
            self._converse(connection)
            self._queue.put(("end", None))
        except (OSError, http.client.HTTPException) as exc:
            self._queue.put(("failed", f"The gateway could not be reached or broke off ({type(exc).__name__})."))
        finally:
            connection.close()

    def _converse(self, connection: http.client.HTTPConnection) -> None:
        prepared = self._prepared
        connection.putrequest("POST", prepared.path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", prepared.host)
        connection.putheader("Authorization", f"Bearer {prepared.token}")
        for name, value in prepared.headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(prepared.body)))
        connection.endheaders(prepared.body)
        with connection.getresponse() as response:
            self._queue.put(("head", (response.status, response.getheaders())))
            size = 0
            while not self._over.is_set() and (chunk := response.read1(65536)):
                size += len(chunk)
                self._queue.put(("data", chunk))
                if size > BYTES_MAX:
                    return


def _connection(gateway: str) -> http.client.HTTPConnection:
    parts = urlsplit(gateway)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            host, parts.port or 443, timeout=_CONNECT_S, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, parts.port or 80, timeout=_CONNECT_S)
