"""One JSON-RPC exchange with an MCP server over Streamable HTTP or HTTP+SSE, bounded in bytes and time.

Nothing is remodelled: what the server says arrives as the JSON it sent. Connections go through `core.http`, so an address is
checked before it is used. Answers come as JSON or as a stream of events; of a stream, only the answer to our own request counts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from catalog.errors import ServerAnswerError, ServerSignInError, ServerUnreachableError
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


class Wire:
    def __init__(self, client: httpx.Client, url: str, budget: Budget) -> None:
        self._client, self._url, self._budget = client, url, budget
        self._last_id = 0

    def ask(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> Reply:
        """Send a request and wait for its answer. Raises UpstreamError and ServerSignInError, not for JSON-RPC errors."""
        self._last_id += 1
        body = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        return self._send("POST", headers, body)

    def tell(self, method: str, headers: dict[str, str]) -> Reply:
        """Send a notification."""
        return self._send("POST", headers, {"jsonrpc": "2.0", "method": method})

    def end(self, headers: dict[str, str]) -> None:
        """Give a session back. Servers may refuse, and one that is gone has nothing to give back."""
        try:
            self._send("DELETE", headers, None)
        except (ServerUnreachableError, ServerAnswerError, ServerSignInError, UpstreamTimeoutError):
            return

    def as_events(self) -> EventWire:
        """The same address in the transport of 2024-11-05. Raises as `ask` does."""
        return EventWire(self._client, self._url, self._budget)

    def _send(self, http_method: str, headers: dict[str, str], body: dict[str, Any] | None) -> Reply:
        self._budget.spend(0)
        content = json.dumps(body).encode() if body is not None else None
        try:
            with self._client.stream(http_method, self._url, headers=_HEADERS | headers, content=content) as response:
                return self._read(response, body.get("id") if body else None)
        except httpx.TimeoutException as error:
            raise UpstreamTimeoutError("The server did not answer in time.") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ServerUnreachableError(f"The server could not be reached: {_reason(error)}.") from error

    def _read(self, response: httpx.Response, request_id: int | None) -> Reply:
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
            message = self._answer_in_stream(response, request_id)
        elif kind == "application/json":
            message = _message(b"".join(self._chunks(response)), strict=response.is_success)
        return Reply(response.status_code, session_id, message)

    def _answer_in_stream(self, response: httpx.Response, request_id: int) -> dict[str, Any]:
        for data in _events(self._chunks(response)):
            message = _message(data, strict=True)
            if message is not None and message.get("id") == request_id and ("result" in message or "error" in message):
                return message
        raise ServerAnswerError("The server closed the stream before it answered.")

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        for chunk in response.iter_raw():
            self._budget.spend(len(chunk))
            yield chunk


class EventWire:
    """The transport of 2024-11-05: a stream of events names the address for messages, and brings every answer."""

    def __init__(self, client: httpx.Client, url: str, budget: Budget) -> None:
        self._client, self._url, self._budget = client, url, budget
        self._last_id = 0
        self._opened = contextlib.ExitStack()
        try:
            self._open()
        except BaseException:
            self._opened.close()
            raise

    def _open(self) -> None:
        with self._translated():
            accept = {"accept": "text/event-stream"}
            response = self._opened.enter_context(self._client.stream("GET", self._url, headers=accept))
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code != 200 or kind != "text/event-stream":
                raise NoEventsError(f"The address answers GET with HTTP {response.status_code} and no events.")
            self._events = _named_events(self._chunks(response))
            self._endpoint = self._await_endpoint()

    def ask(self, method: str, params: dict[str, Any], headers: dict[str, str]) -> Reply:
        """As `Wire.ask`."""
        self._last_id += 1
        status = self._post({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        with self._translated():
            for _, data in self._events:
                message = _message(data, strict=True)
                if message is not None and message.get("id") == self._last_id and "method" not in message:
                    return Reply(status, "", message)
        raise ServerAnswerError("The server closed the stream before it answered.")

    def tell(self, method: str, headers: dict[str, str]) -> Reply:
        """As `Wire.tell`."""
        return Reply(self._post({"jsonrpc": "2.0", "method": method}), "", None)

    def end(self, headers: dict[str, str]) -> None:
        """Closing the stream ends the session."""
        self._opened.close()

    def _post(self, body: dict[str, Any]) -> int:
        self._budget.spend(0)
        with self._translated():
            response = self._client.post(self._endpoint, headers=_HEADERS, content=json.dumps(body).encode())
        if not response.is_success:
            raise ServerAnswerError(f"The server answers a message with HTTP {response.status_code}.")
        return response.status_code

    def _await_endpoint(self) -> str:
        for name, data in self._events:
            if name == b"endpoint":
                named = urljoin(self._url, data.decode("latin-1"))
                if urlsplit(named)[:2] != urlsplit(self._url)[:2]:
                    raise ServerAnswerError("The server wants messages at an address of another origin.")
                return named
        raise ServerAnswerError("The server named no address for messages.")

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        for chunk in response.iter_raw():
            self._budget.spend(len(chunk))
            yield chunk

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise UpstreamTimeoutError("The server did not answer in time.") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ServerUnreachableError(f"The server could not be reached: {_reason(error)}.") from error


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


def _events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event that has any."""
    return (data for _, data in _named_events(chunks))


def _named_events(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of each event that has any data. Lines end in LF or CRLF."""
    name, data = b"", list[bytes]()
    for line in _lines(chunks):
        if not line:
            if data:
                yield name, b"\n".join(data)
            name, data = b"", []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].removeprefix(b" ")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            yield b"".join([*pending, part]).removesuffix(b"\r")
            pending = []
        pending.append(rest)


def _reason(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text[:120] or type(error).__name__
