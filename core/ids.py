"""Identifiers: UUIDv7 (RFC 9562 section 5.7), ordered by the millisecond in which they were minted.

The order is what month partitions and keyset paging rely on. Within one millisecond and process a counter keeps ids
increasing; across processes the 62 random bits keep them apart. They are drawn ahead, some hundred ids at a time: ids are no
secrets, and a system call for each would cost more than the rest.
"""

from __future__ import annotations

import os
import threading
from datetime import datetime, timedelta
from uuid import UUID, SafeUUID

from core import clock

_lock = threading.Lock()
_last_ms = -1
_counter = 0
_random = b""
_drawn = 0  # bytes of it that are used up

_COUNTER_MAX = 0xFFF
# A clock that steps back a little is waited out; one that was set back is followed, or rows would land in a later month.
_CLOCK_SET_BACK_MS = 10_000
_DRAWN_AHEAD = 4096
_set = object.__setattr__


def uuid7() -> UUID:
    global _random, _drawn  # noqa: PLW0603 - one sequence per process
    ms = clock.unix_ms()
    with _lock:
        if _drawn >= len(_random):
            _random, _drawn = os.urandom(_DRAWN_AHEAD), 0
        rest = int.from_bytes(_random[_drawn : _drawn + 8], "big")
        _drawn += 8
        return _next(ms, rest)


def uuid7s(count: int) -> list[UUID]:
    """So many at once, in their order."""
    ms, drawn = clock.unix_ms(), os.urandom(8 * count)
    with _lock:
        return [_next(ms, int.from_bytes(drawn[at : at + 8], "big")) for at in range(0, 8 * count, 8)]


def _next(ms: int, rest: int) -> UUID:
    """The id after the one before. Only under the lock."""
    global _last_ms, _counter  # noqa: PLW0603 - as above
    if ms > _last_ms or ms < _last_ms - _CLOCK_SET_BACK_MS:
        _last_ms, _counter = ms, rest >> 56
    else:
        _counter += 1
        if _counter > _COUNTER_MAX:
            _last_ms, _counter = _last_ms + 1, 0
    value = object.__new__(UUID)
    # What its constructor does, without looking at all the forms that an id could be given in.
    _set(value, "int", _last_ms << 80 | 0x7 << 76 | _counter << 64 | 0b10 << 62 | rest & 0x3FFF_FFFF_FFFF_FFFF)
    _set(value, "is_safe", SafeUUID.unknown)
    return value


def _forget() -> None:
    """A child of this process draws bits of its own."""
    global _random  # noqa: PLW0603 - as above
    _random = b""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def moment_of(value: UUID) -> datetime:
    """When a UUIDv7 was minted, to the millisecond."""
    return clock.EPOCH + timedelta(milliseconds=value.int >> 80)


def lowest_at(moment: datetime) -> UUID:
    """The smallest id of a moment: a partition bound (no version bits, so it sorts before every real id)."""
    return UUID(int=clock.to_unix_ms(moment) << 80)
