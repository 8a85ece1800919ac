"""The current moment, in one place, so that tests can set it.

`now()` is for what is stored and shown; durations are measured with `monotonic_ms()`, which no clock change touches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_frozen: datetime | None = None


def now() -> datetime:
    """An aware moment in UTC."""
    return _frozen or datetime.now(UTC)


def unix_ms() -> int:
    return time.time_ns() // 1_000_000 if _frozen is None else to_unix_ms(_frozen)


def to_unix_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded down. Exact, unlike the float of `timestamp()`."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def monotonic_ms() -> float:
    return time.perf_counter_ns() / 1_000_000


@contextmanager
def frozen(moment: datetime) -> Iterator[None]:
    """Hold `now()` at a moment; for tests only."""
    global _frozen  # noqa: PLW0603 - the clock is process-wide by nature
    previous, _frozen = _frozen, moment
    try:
        yield
    finally:
        _frozen = previous
