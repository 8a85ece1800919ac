"""One JSON-RPC exchange with an MCP server over Streamable HTTP, bounded in bytes and time.

Nothing is remodelled: what the server says arrives as the JSON it sent. Connections go through `core.http`, so an address is
checked before it is used. Answers come as JSON or as a stream of events; of a stream, only the answer to our own request counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from catalog.errors import ServerAnswerError, ServerSignInError, ServerUnreachableError
from core import clock
from core.errors import UpstreamTimeoutError

_HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
_SIGN_IN = frozenset({401, 403, 407})


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
    """The data of each event that has any. Lines end in LF or CRLF."""
    data: list[bytes] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield b"\n".join(data)
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))


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
