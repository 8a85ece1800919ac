"""Sending answers: the few header lists that the gateway uses, built without copying what never changes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core import failpoints
from gateway import cors
from gateway.context import CallContext
from gateway.http import CYCLE, Cycle
from gateway.mcp import errors
from gateway.mcp.errors import RefusedError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_NO_STORE = (b"cache-control", b"no-store")


async def send_json(
    call: CallContext, send: Send, status: int, body: bytes, *, more: HeaderList | None = None, problem: bool = False
) -> None:
    if failpoints.armed:
        failpoints.reach("before_answer")
    if not problem:
        cycle = call.scope.get(CYCLE)
        if cycle is not None and answer_at_once(call, cycle, status, body, more):
            return
    headers = [
        _PROBLEM if problem else _JSON,
        (b"content-length", b"%d" % len(body)),
        (b"x-marketplace-call-id", call.call_id_text),
        (b"server-timing", b"gw;dur=%.2f, upstream;dur=%.2f" % (call.elapsed_ms - call.upstream_ms, call.upstream_ms)),
    ]
    if more:
        headers += more
    if b"origin" in call.headers:
        headers += cors.readable(call.headers[b"origin"])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def answer_at_once(call: CallContext, cycle: Cycle, status: int, body: bytes, more: HeaderList | None) -> bool:
    """Give a plain answer without messages. False, and nothing is sent, where it takes them to say it."""
    return not more and b"origin" not in call.headers and cycle.answer(status, _json_lines(call), body)


def _json_lines(call: CallContext) -> bytes:
    """The headers of a plain answer, as lines."""
    upstream_ms = call.upstream_ms
    return (
        b"content-type: application/json\r\nx-marketplace-call-id: %b\r\nserver-timing: gw;dur=%.2f, upstream;dur=%.2f\r\n"
        % (call.call_id_text, call.elapsed_ms - upstream_ms, upstream_ms)
    )


async def send_text(send: Send, status: int, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), _NO_STORE]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_document(send: Send, body: bytes) -> None:
    """A document that everybody may read, from pages of other origins too."""
    headers = [
        _JSON,
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"public, max-age=3600"),
        (b"access-control-allow-origin", b"*"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_bytes(call: CallContext, send: Send, status: int, body: bytes, headers: HeaderList) -> None:
    """An answer of another server, with the headers that may pass."""
    all_headers = [(b"content-length", b"%d" % len(body)), (b"x-marketplace-call-id", call.call_id_text), *headers]
    if b"origin" in call.headers:
        all_headers += cors.readable(call.headers[b"origin"])
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def start_stream(call: CallContext, send: Send, more: HeaderList) -> None:
    call.stream_started = True
    headers = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"x-marketplace-call-id", call.call_id_text),
        # What is known when a stream begins; its row knows the rest.
        (b"server-timing", b"gw;dur=%.2f" % max(call.elapsed_ms - call.upstream_elapsed_ms, 0.0)),
        *more,
    ]
    if b"origin" in call.headers:
        headers += cors.readable(call.headers[b"origin"])
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    call.watched.open(send)


async def send_event(call: CallContext, event: bytes, *, last: bool = False) -> None:
    """Add to the stream that has begun. Waits for a client that reads slowly; the watch ends that wait."""
    await call.watched.say(event, last=last)


async def send_preflight(send: Send, headers: HeaderList) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


_DOUBTFUL = frozenset({"gateway.headers_invalid", "gateway.header_duplicated"})


async def send_refusal(call: CallContext, send: Send, refusal: RefusedError, status: int) -> None:
    """A refusal in the words of the interface that was used."""
    call_id = call.call_id_text.decode()
    more: HeaderList = [_NO_STORE]
    if refusal.retry_after_s:
        more.append((b"retry-after", b"%d" % math.ceil(refusal.retry_after_s)))
    if refusal.limit is not None:
        more += _limit_headers(refusal.limit)
    if refusal.challenge and status in {401, 403}:
        more.append((b"www-authenticate", refusal.challenge))
    elif status == 405:
        more.append((b"allow", b"POST"))
    elif status in {408, 413} or refusal.kind.code in _DOUBTFUL:
        # What is left of the body is not waited for, and what follows a head that is in doubt is not believed.
        more.append((b"connection", b"close"))
    if refusal.result is not None:
        await send_json(call, send, 200, errors.rpc_result(refusal, call.request_id), more=[_NO_STORE])
    elif call.interface in {"invoke", "token"}:
        await send_json(call, send, status, errors.problem(refusal, call_id), more=more, problem=True)
    else:
        await send_json(call, send, status, errors.rpc_error(refusal, call.request_id, call_id), more=more)


def _limit_headers(limit: dict[str, Any]) -> HeaderList:
    """`RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers; money and places are in `data` only."""
    name = f'"{limit["scope"]}-{limit["kind"]}"'
    if isinstance(limit["limit"], str) or "window_s" not in limit:
        return []
    reset = math.ceil(limit["reset_s"])
    return [
        (b"ratelimit", f"{name};r={limit['remaining']};t={reset}".encode()),
        (b"ratelimit-policy", f"{name};q={limit['limit']};w={limit['window_s']}".encode()),
    ]
