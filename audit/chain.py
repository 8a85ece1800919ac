"""The hash chain of audit events: pure, so that a verifier elsewhere can repeat it.

`hash_n = HMAC-SHA-256(key, hash_{n-1} || canonical(row_n))`; the first row follows 32 zero bytes. The canonical form is JSON
with sorted keys, no spaces, times in UTC to the microsecond.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Link:
    sequence: int
    content: dict[str, Any]
    previous_hash: bytes
    hash: bytes


def canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain).encode()


def digest(key: bytes, previous_hash: bytes, content: dict[str, Any]) -> bytes:
    return hmac.new(key, previous_hash + canonical(content), hashlib.sha256).digest()


def first_break(key: bytes, links: Iterable[Link]) -> tuple[int, str] | None:
    """The sequence number and nature of the first link that does not hold, or None when the whole chain does."""
    previous, expected = GENESIS, 1
    for link in links:
        if link.sequence != expected:
            return expected, f"row {expected} is missing: the next one is {link.sequence}"
        if link.previous_hash != previous:
            return link.sequence, f"row {link.sequence} does not follow the row before it"
        if not hmac.compare_digest(link.hash, digest(key, previous, link.content)):
            return link.sequence, f"row {link.sequence} was changed after it was written"
        previous, expected = link.hash, expected + 1
    return None


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value)
