"""Server-sent events as bytes: cut a stream at its events, and see which event carries an answer.

Follows the WHATWG rules that clients follow (LF, CR and CRLF; several data lines; a byte order mark at the start), because an
answer that the client can see and this parser cannot would be an answer without a record. Bytes go on unchanged.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class EventTooLargeError(Exception):
    """One event exceeds the limit."""


class EventCutter:
    """Feed chunks, get complete events (each with its final blank line)."""

    def __init__(self, max_event_bytes: int) -> None:
        self._buffer = bytearray()
        self._max = max_event_bytes
        self._scanned = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Raises EventTooLargeError. What an event costs grows with its size, however many chunks it comes in."""
        buffer: bytes | bytearray = chunk
        if self._buffer:
            self._buffer += chunk
            buffer = self._buffer
        events, start, search = [], 0, max(0, self._scanned - 4)
        # A lone CR at the end may be the first half of CRLF: it is decided when the next chunk is there.
        usable = len(buffer) - 1 if buffer.endswith(b"\r") else len(buffer)
        while (match := _END.search(buffer, max(search, start), usable)) is not None:
            events.append(bytes(buffer[start : match.end()]))
            start = search = match.end()
        if buffer is chunk:
            self._buffer += chunk[start:]
        else:
            del self._buffer[:start]
        self._scanned = len(self._buffer)
        if self._scanned > self._max:
            raise EventTooLargeError
        return events

    def finish(self) -> list[bytes]:
        """At the end of the stream: an event that a lone CR ends. Bytes of an unfinished event are no event."""
        rest, self._buffer = bytes(self._buffer), bytearray()
        return [rest] if rest and _END.search(rest) is not None else []


def data_of(event: bytes) -> bytes:
    """The data of an event, its lines joined; empty for comments and pings."""
    lines = []
    for raw in _LINE.split(event.removeprefix(_BOM)):
        if raw.startswith(b"data"):
            if raw[4:5] == b":":
                lines.append(raw[6:] if raw[5:6] == b" " else raw[5:])
            elif len(raw) == 4:
                lines.append(b"")
    return b"\n".join(lines)


def message_of(event: bytes) -> dict[str, Any] | None:
    """The JSON object that an event carries, None for comments and empty data. Raises ValueError for anything else."""
    data = data_of(event)
    if not data:
        return None
    message = orjson.loads(data)
    if not isinstance(message, dict):
        raise ValueError("an event is one JSON object")
    return message


def is_answer(message: dict[str, Any] | None) -> bool:
    return message is not None and "method" not in message and ("result" in message or "error" in message)


def has_event_id(event: bytes) -> bool:
    return any(line.startswith(b"id:") for line in _LINE.split(event))


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data; its id, name and retry time stay."""
    fields = [line for line in _LINE.split(event.removeprefix(_BOM)) if line and not line.startswith((b"data", b":"))]
    return b"\n".join([*fields, *(b"data: " + line for line in _LINE.split(data)), b"", b""])


def field_of(event: bytes, name: bytes) -> bytes:
    """The last value of another field of an event: `event`, `id` or `retry`."""
    value = b""
    for line in _LINE.split(event.removeprefix(_BOM)):
        key, colon, rest = line.partition(b":")
        if key == name and colon:
            value = rest.removeprefix(b" ")
    return value


def event(data: bytes) -> bytes:
    return b"event: message\ndata: " + data + b"\n\n"
