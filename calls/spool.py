"""Rows that Postgres could not take: appended to a file of this process, durable before the caller is answered.

A frame is a mark, a length, a checksum and the row as JSON. The mark is two bytes that UTF-8 never has, so that a damaged frame
costs itself and not what comes after it. A frame at the end that was cut off by a crash was never answered for. Reading is
idempotent: rows carry their call id, and the table takes each id once. Fails closed: what cannot be made durable raises OSError.
"""

from __future__ import annotations

import logging
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from calls.record import COLUMNS, CallRecord

log = logging.getLogger(__name__)

LIMIT_BYTES = 64 * 1024 * 1024
LIMIT_AGE_S = 15 * 60.0
# Calls that were let in just below the limit find room, and free reads go on a little longer than the rest.
RESERVE = 0.25

_MARK = b"\xf5\xf6"
_HEAD = struct.Struct("<II")
_FRAME_HEAD = len(_MARK) + _HEAD.size
_MAX_ROW = 64 * 1024

_NAMES = tuple(field.name for field in fields(CallRecord) if field.name != "alike")
_READERS: dict[str, Any] = {
    name: UUID if kind == "uuid" else datetime.fromisoformat if kind == "timestamptz" else Decimal
    for name, kind in COLUMNS
    if kind in {"uuid", "timestamptz"} or kind.startswith("numeric")
}


class DamagedRowError(ValueError):
    """A frame that is whole and is still no row."""


def encode_row(record: CallRecord) -> bytes:
    """A row as JSON; values that JSON lacks go as text."""
    return orjson.dumps({name: getattr(record, name) for name in _NAMES}, default=_textual)


def decode_row(data: bytes) -> CallRecord:
    """The row that `encode_row` was given; columns of another release are left out. Raises DamagedRowError."""
    try:
        found = orjson.loads(data)
        return CallRecord(
            **{name: _read(name, value) for name, value in found.items() if name in _READERS or name in _NAMES}
        )
    except (ValueError, TypeError, AttributeError, ArithmeticError) as exc:
        raise DamagedRowError(str(exc)) from exc


def frame(data: bytes) -> bytes:
    return _MARK + _HEAD.pack(len(data), zlib.crc32(data)) + data


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every undamaged frame's content with the offset behind it."""
    at = data.find(_MARK)
    while at >= 0:
        body = at + _FRAME_HEAD
        if body > len(data):
            return
        length, check = _HEAD.unpack_from(data, at + len(_MARK))
        content = data[body : body + length]
        if length <= _MAX_ROW and len(content) == length and zlib.crc32(content) == check:
            yield body + length, content
            at = data.find(_MARK, body + length)
        else:
            at = data.find(_MARK, at + 1)


def read_rows(data: bytes) -> Iterator[tuple[int, CallRecord]]:
    """The rows of a spool with the offset behind each; a row that cannot be read is logged and left out."""
    for end, content in frames(data):
        try:
            yield end, decode_row(content)
        except DamagedRowError as exc:
            log.error("spooled row not understood", extra={"error": str(exc)[:200]})


class Spool:
    """One process's file. `append` and `read` may run in a thread, one at a time; the rest is for the loop's thread."""

    def __init__(self, path: Path, *, limit_bytes: int = LIMIT_BYTES, limit_age_s: float = LIMIT_AGE_S) -> None:
        self.path = path
        self._limit_bytes, self._limit_age_s = limit_bytes, limit_age_s
        self._fd = -1
        self._begun_at: float | None = None
        self.size = 0
        self.broken = False  # the last append failed: no room, or no disk

    @property
    def is_empty(self) -> bool:
        return self.size == 0

    @property
    def age_s(self) -> float:
        """How long the oldest row has waited; 0 when there is none."""
        return 0.0 if self._begun_at is None else time.monotonic() - self._begun_at

    @property
    def is_limited(self) -> bool:
        """No more calls that cost money or change something."""
        return self.size >= self._limit_bytes or self.age_s >= self._limit_age_s

    @property
    def is_full(self) -> bool:
        """No more calls at all."""
        return self.broken or self.size >= self._limit_bytes * (1 + RESERVE)

    def append(self, rows: Iterable[bytes]) -> None:
        """Make encoded rows durable with one sync. Raises OSError, and then none of them is there."""
        data = b"".join(map(frame, rows))
        try:
            self._open()
            _write_all(self._fd, data, self.size)
            os.fdatasync(self._fd)
        except OSError:
            self.broken = True
            if self._fd >= 0:
                os.ftruncate(self._fd, self.size)
            raise
        self.broken = False
        self.size += len(data)
        if self._begun_at is None:
            self._begun_at = time.monotonic()

    def probe(self) -> None:
        """Whether there is room again: as much as a burst of rows takes is written, and taken back."""
        try:
            self._open()
            _write_all(self._fd, bytes(_MAX_ROW), self.size)
            os.fdatasync(self._fd)
            self.broken = False
        except OSError:
            self.broken = True
        finally:
            if self._fd >= 0:
                os.ftruncate(self._fd, self.size)

    def read(self, offset: int, size: int) -> bytes:
        """Up to so many bytes from an offset on, and never what is just being appended."""
        return os.pread(self._fd, max(min(size, self.size - offset), 0), offset) if self._fd >= 0 else b""

    def clear(self) -> None:
        """Everything is in the table."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
        self.size, self._begun_at = 0, None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            sync_folder(self.path.parent)


def sync_folder(folder: Path) -> None:
    """A file that was made is only durable with the entry of its folder."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def _textual(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _read(name: str, value: Any) -> Any:
    reader = _READERS.get(name)
    return value if value is None or reader is None else reader(value)
