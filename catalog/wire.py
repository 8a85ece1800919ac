"""One JSON-RPC exchange with an MCP server over Streamable HTTP or HTTP+SSE, bounded in bytes and time.

Nothing is remodelled: what the server says arrives as the JSON it sent. Connections go through `core.http`, so an address is
checked before it is used. Answers come as JSON or as a stream of events; of a stream, only the answer to our own request counts.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from catalog.errors import ServerAnswerError, ServerSignInError, ServerTlsError, ServerUnreachableError
from core import clock
from core.errors import UpstreamTimeoutError

_HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
_SIGN_IN = frozenset({401, 403, 407})


class NoEventsError(ServerAnswerError):
    """The address has no stream of events."""


@dataclass(slots=True)
class Budget:
    """What is left of the bytes and of the time that one reading may take."""

    bytes_left: int
    ends_at_ms: float

    @classmethod
    def of(cls, bytes_max: int, seconds_max: float) -> Budget:
        return cls(bytes_max, clock.monotonic_ms() + seconds_max * 1000)

    def spend(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise ServerAnswerError("The server describes itself at greater length than is accepted.")
        if clock.monotonic_ms() > self.ends_at_ms:
            raise UpstreamTimeoutError("The server took too long to describe itself.")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; `message` is the JSON-RPC response in it, when there was one."""

    status: int
    session_id: str
    message: dict[str, Any] | None

    @property
    def result(self) -> dict[str, Any] | None:
        found = (self.message or {}).get("result")
        return found if isinstance(found, dict) else None

    @property
    def error(self) -> dict[str, Any] | None:
        found = (self.message or {}).get("error")
        return found if isinstance(found, dict) else None


@dataclass(slots=True)
class Noted:
    """What exchanges say besides their answers: how long the last one took, and when the certificate ends."""

    last_ms: float = 0.0
    tls_expires_at: datetime | None = None

    def note_certificate(self, response: httpx.Response) -> None:
        stream = response.extensions.get("network_stream")
        tls = stream.get_extra_info("ssl_object") if stream is not None else None
        until = (tls.getpeercert() or {}).get("notAfter") if tls is not None else None
        if until:
            self.tls_expires_at = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)


class Wire:
    def __init__(self, client: httpx.AsyncClient, url: str, budget: Budget, noted: Noted | None = None) -> None:
        self._client, self._url, self._budget = client, url, budget
        self.noted = noted or Noted()
        self._last_id = 0

    async def ask(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> Reply:
        """Send a request and wait for its answer. Raises UpstreamError and ServerSignInError, not for JSON-RPC errors."""
        self._last_id += 1
        body = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        started = clock.monotonic_ms()
        reply = await self._send("POST", headers, body)
        self.noted.last_ms = clock.monotonic_ms() - started
        return reply

    async def tell(self, method: str, headers: dict[str, str]) -> Reply:
        """Send a notification."""
        return await self._send("POST", headers, {"jsonrpc": "2.0", "method": method})

    async def end(self, headers: dict[str, str]) -> None:
        """Give a session back. Servers may refuse, and one that is gone has nothing to give back."""
        try:
            await self._send("DELETE", headers, None)
        except (ServerUnreachableError, ServerAnswerError, ServerSignInError, UpstreamTimeoutError):
            return

    async def as_events(self) -> EventWire:
        """The same address in the transport of 2024-11-05. Raises as `ask` does."""
        events = EventWire(self._client, self._url, self._budget, self.noted)
        await events.open()
        return events

    async def _send(self, http_method: str, headers: dict[str, str], body: dict[str, Any] | None) -> Reply:
        self._budget.spend(0)
        content = json.dumps(body).encode() if body is not None else None
        with _translated():
            stream = self._client.stream(http_method, self._url, headers=_HEADERS | headers, content=content)
            async with stream as response:
                self.noted.note_certificate(response)
                return await self._read(response, body.get("id") if body else None)

    async def _read(self, response: httpx.Response, request_id: int | None) -> Reply:
        if response.status_code in _SIGN_IN:
            raise ServerSignInError(f"The server asks for a sign-in (HTTP {response.status_code}).")
        if response.is_redirect:
            raise ServerAnswerError(
                "The server redirects to another address.", next_step="Register the address that it redirects to."
            )
        session_id = response.headers.get("mcp-session-id", "")
        if request_id is None:
            return Reply(response.status_code, session_id, None)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        message = None
        if kind == "text/event-stream":
            message = await self._answer_in_stream(response, request_id)
        elif kind == "application/json":
            chunks = [chunk async for chunk in _chunks(response, self._budget)]
            message = _message(b"".join(chunks), strict=response.is_success)
        return Reply(response.status_code, session_id, message)

    async def _answer_in_stream(self, response: httpx.Response, request_id: int) -> dict[str, Any]:
        async with contextlib.aclosing(_named_events(_chunks(response, self._budget))) as events:
            async for _, data in events:
                message = _message(data, strict=True)
                if (
                    message is not None
                    and message.get("id") == request_id
                    and ("result" in message or "error" in message)
                ):
                    return message
        raise ServerAnswerError("The server closed the stream before it answered.")


class EventWire:
    """The transport of 2024-11-05: a stream of events names the address for messages, and brings every answer."""

    def __init__(self, client: httpx.AsyncClient, url: str, budget: Budget, noted: Noted) -> None:
        self._client, self._url, self._budget = client, url, budget
        self.noted = noted
        self._last_id = 0
        self._opened = contextlib.AsyncExitStack()

    async def open(self) -> None:
        """Before anything is asked. Raises NoEventsError when the address has no such stream."""
        try:
            with _translated():
                await self._open()
        except BaseException:
            await self._opened.aclose()
            raise

    async def _open(self) -> None:
        accept = {"accept": "text/event-stream"}
        response = await self._opened.enter_async_context(self._client.stream("GET", self._url, headers=accept))
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code != 200 or kind != "text/event-stream":
            raise NoEventsError(f"The address answers GET with HTTP {response.status_code} and no events.")
        self.noted.note_certificate(response)
        events = _named_events(_chunks(response, self._budget))
        self._events = await self._opened.enter_async_context(contextlib.aclosing(events))
        self._endpoint = await self._await_endpoint()

    async def ask(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> Reply:
        """As `Wire.ask`."""
        self._last_id += 1
        started = clock.monotonic_ms()
        status = await self._post({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        with _translated():
            async for _, data in self._events:
                message = _message(data, strict=True)
                if message is not None and message.get("id") == self._last_id and "method" not in message:
                    self.noted.last_ms = clock.monotonic_ms() - started
                    return Reply(status, "", message)
        raise ServerAnswerError("The server closed the stream before it answered.")

    async def tell(self, method: str, headers: dict[str, str]) -> Reply:
        """As `Wire.tell`."""
        return Reply(await self._post({"jsonrpc": "2.0", "method": method}), "", None)

    async def end(self, headers: dict[str, str]) -> None:
        """Closing the stream ends the session."""
        await self._opened.aclose()

    async def _post(self, body: dict[str, Any]) -> int:
        self._budget.spend(0)
        with _translated():
            response = await self._client.post(self._endpoint, headers=_HEADERS, content=json.dumps(body).encode())
        if not response.is_success:
            raise ServerAnswerError(f"The server answers a message with HTTP {response.status_code}.")
        return response.status_code

    async def _await_endpoint(self) -> str:
        async for name, data in self._events:
            if name == b"endpoint":
                named = urljoin(self._url, data.decode("latin-1"))
                if urlsplit(named)[:2] != urlsplit(self._url)[:2]:
                    raise ServerAnswerError("The server wants messages at an address of another origin.")
                return named
        raise ServerAnswerError("The server named no address for messages.")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What the client raises, as errors of ours."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise UpstreamTimeoutError("The server did not answer in time.") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        if (reason := _tls_reason(error)) is not None:
            raise ServerTlsError(f"The server cannot be reached over TLS: {reason}.") from error
        raise ServerUnreachableError(f"The server could not be reached: {_reason(error)}.") from error


async def _chunks(response: httpx.Response, budget: Budget) -> AsyncIterator[bytes]:
    async for chunk in response.aiter_raw():
        budget.spend(len(chunk))
        yield chunk


def _message(data: bytes, *, strict: bool) -> dict[str, Any] | None:
    """The JSON object in an answer; None when there is none and the status already says that something is wrong."""
    try:
        found = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        if not strict:
            return None
        raise ServerAnswerError("The server's answer is not JSON.") from error
    if not isinstance(found, dict):
        if not strict:
            return None
        raise ServerAnswerError("The server's answer is not a JSON-RPC message.")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


async def _named_events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[tuple[bytes, bytes], None]:
    """Name and data of each event that has any data. Lines end in LF or CRLF."""
    name, data = b"", list[bytes]()
    async for line in _lines(chunks):
        if not line:
            if data:
                yield name, b"\n".join(data)
            name, data = b"", []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].removeprefix(b" ")


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    pending: list[bytes] = []
    async for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            yield b"".join([*pending, part]).removesuffix(b"\r")
            pending = []
        pending.append(rest)


def _tls_reason(error: BaseException) -> str | None:
    """What TLS did not accept, when that is why a connection failed."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    said = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or type(cause).__name__
    return str(said).replace("_", " ").lower()[:120]


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text[:120] or type(error).__name__
