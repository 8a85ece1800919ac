"""What a reply of a server is: one JSON document or a stream of events, and the messages in either."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from gateway.mcp import sse
from gateway.upstream.http1 import Reply, ReplyTooLargeError, UpstreamBrokenError

POST_TYPES = b"content-type: application/json\r\naccept: application/json, text/event-stream\r\n"


async def events(
    reply: Reply, max_bytes: int, heard: Callable[[], None] | None = None
) -> AsyncIterator[tuple[bytes, dict[str, Any] | None]]:
    """A stream's events as they arrive, each with the message it carries; `heard` is told of all bytes, also of half an event.

    Raises UpstreamBrokenError.
    """
    cutter = sse.EventCutter(max_bytes)
    try:
        while chunk := await reply.read():
            if heard is not None:
                heard()
            for event in cutter.feed(chunk):
                yield event, sse.message_of(event)
        for event in cutter.finish():
            yield event, sse.message_of(event)
    except sse.EventTooLargeError as exc:
        raise _too_large(max_bytes) from exc
    except ValueError as exc:
        raise UpstreamBrokenError(f"the stream is not usable: {type(exc).__name__}") from exc


async def raw_events(reply: Reply, max_bytes: int, heard: Callable[[], None] | None = None) -> AsyncIterator[bytes]:
    """A stream's events as they arrive, not looked into; `heard` as for `events`. Raises UpstreamBrokenError."""
    cutter = sse.EventCutter(max_bytes)
    try:
        while chunk := await reply.read():
            if heard is not None:
                heard()
            for event in cutter.feed(chunk):
                yield event
        for event in cutter.finish():
            yield event
    except sse.EventTooLargeError as exc:
        raise _too_large(max_bytes) from exc


def _too_large(max_bytes: int) -> ReplyTooLargeError:
    return ReplyTooLargeError(f"an event of the stream is larger than {max_bytes} bytes")


def is_event_stream(reply: Reply) -> bool:
    return _kind_of(reply) == b"text/event-stream"


def is_json(reply: Reply) -> bool:
    return _kind_of(reply) == b"application/json"


def _kind_of(reply: Reply) -> bytes:
    kind = reply.kind
    if kind is None:
        kind = reply.kind = reply.header(b"content-type").partition(b";")[0].strip().lower()
    return kind
