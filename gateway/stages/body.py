"""Closed: a body that is larger or slower than is allowed is not read to its end into memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.mcp.errors import RefusedError
from gateway.watch import ClientGoneError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# An oversize body of a known, moderate length is read and dropped, so that the client can read the refusal.
_DRAIN_BYTES = 16 * 1024 * 1024


async def read(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body, of at most `limit` bytes. Raises RefusedError, or ClientGoneError."""
    declared = headers.get(b"content-length", b"")
    if declared and (not declared.isdigit() or int(declared[:20]) > limit):
        if declared.isdigit() and int(declared[:20]) <= _DRAIN_BYTES:
            await _drain(receive)
        raise too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit and message["type"] == "http.request":
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False) and size <= limit:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    if size > limit:
        raise too_large(limit)
    return b"".join(parts)


async def _drain(receive: Receive) -> None:
    size = 0
    while size <= _DRAIN_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def too_large(limit: int) -> RefusedError:
    """What is said of a body of more than `limit` bytes."""
    return RefusedError("gateway.too_large", f"The request is larger than {limit} bytes.")
