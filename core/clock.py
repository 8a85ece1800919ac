"""The current moment, in one place, so that tests can set it.

`now()` is for what is stored and shown; durations are measured with `monotonic_ms()`, which no clock change touches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_frozen: datetime | None = None


def now() -> datetime:
    """An aware moment in UTC."""
    return _frozen or datetime.now(UTC)


def unix_ms() -> int:
    if _frozen is not None:
        return int(_frozen.timestamp() * 1000)
    return time.time_ns() // 1_000_000


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
