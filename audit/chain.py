"""The hash chain of audit events: pure, so that a verifier elsewhere can repeat it.

`hash_n = HMAC-SHA-256(key, hash_{n-1} || canonical(row_n))`; the first row follows 32 zero bytes. The canonical form is JSON
with sorted keys, no spaces, times in UTC to the microsecond.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

GENESIS = bytes(32)


class Kind(StrEnum):
    """What was done to a log."""

    EDITED = "edited"
    DELETED = "deleted"
    MOVED = "moved"
    INSERTED = "inserted"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    FORGED = "forged"  # a checkpoint or the mark of the end that is not ours


class Break(NamedTuple):
    """The first row that does not hold, why, and what was done to it."""

    sequence: int
    why: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Link:
    sequence: int
    content: dict[str, Any]
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Point:
    """A row and its hash: where a chain begins after a cut, or what somebody saw of it."""

    sequence: int
    hash: bytes


START = Point(0, GENESIS)


def canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain).encode()


def digest(key: bytes, previous_hash: bytes, content: dict[str, Any]) -> bytes:
    return hmac.new(key, previous_hash + canonical(content), hashlib.sha256).digest()


def head_mark(key: bytes, log: str, head: Point) -> bytes:
    """What only we can write about the end of a log, so that rows cut off there are missed at once."""
    return hmac.new(key, f"head|{log}|{head.sequence}|".encode() + head.hash, hashlib.sha256).digest()


def first_break(key: bytes, links: Iterable[Link], start: Point = START) -> Break | None:
    """The first link that does not hold and what was done there, or None when the whole chain does."""
    previous, expected = start.hash, start.sequence + 1
    links = iter(links)
    for link in links:
        if link.sequence != expected:
            return Break(expected, f"row {expected} is missing: the next one is {link.sequence}", Kind.DELETED)
        if link.previous_hash != previous:
            return _misplaced(key, link, previous, links)
        if not hmac.compare_digest(link.hash, digest(key, previous, link.content)):
            return _altered(link, previous, links)
        previous, expected = link.hash, expected + 1
    return None


def _misplaced(key: bytes, link: Link, previous: bytes, rest: Iterator[Link]) -> Break:
    """A row that names another one before it: edited there, moved, put in, or moved up over one that was taken out."""
    number = link.sequence
    if digest(key, previous, link.content) == link.hash:
        return Break(number, f"row {number} was changed: it names another row before it", Kind.EDITED)
    true_one = _follower(previous, rest)
    if true_one is None:
        why = f"row {number} does not follow the row before it: what stood there is missing"
        return Break(number, why, Kind.DELETED)
    if link.hash in {
        digest(key, link.previous_hash, link.content),
        digest(key, link.previous_hash, {**link.content, "sequence": true_one}),
    }:
        why = f"row {number} does not follow the row before it: what stood there is row {true_one} now"
        return Break(number, why, Kind.MOVED)
    return Break(number, f"row {number} does not follow the row before it: it was put in", Kind.INSERTED)


def _altered(link: Link, previous: bytes, rest: Iterator[Link]) -> Break:
    """A row whose hash is not of its content: changed in its place, unless the true one comes after it."""
    number = link.sequence
    if _follower(previous, rest) is not None:
        return Break(number, f"row {number} was put in: the row after it follows the one before it", Kind.INSERTED)
    return Break(number, f"row {number} was changed after it was written", Kind.EDITED)


def _follower(previous: bytes, rest: Iterator[Link]) -> int | None:
    """The number of a later row that says that it follows the last good one."""
    return next((link.sequence for link in rest if link.previous_hash == previous), None)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value)
