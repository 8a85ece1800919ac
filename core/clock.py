"""The current moment, in one place, so that tests can set it.

`now()` is for what is stored and shown; durations are measured with `monotonic_ms()`, which no clock change touches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOK_EVERY_S = 0.1

# What is asked instead of the machine's clock.
_source: Callable[[], datetime] | None = None


def now() -> datetime:
    """An aware moment in UTC."""
    return datetime.now(UTC) if _source is None else _source()


def unix_ms() -> int:
    return time.time_ns() // 1_000_000 if _source is None else to_unix_ms(_source())


def to_unix_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded down. Exact, unlike the float of `timestamp()`."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def monotonic_ms() -> float:
    return time.perf_counter_ns() / 1_000_000


@contextmanager
def frozen(moment: datetime) -> Iterator[None]:
    """Hold `now()` at a moment; for tests only."""
    global _source  # noqa: PLW0603 - the clock is process-wide by nature
    previous, _source = _source, lambda: moment
    try:
        yield
    finally:
        _source = previous


def follow(file: str) -> None:
    """Be ahead of the machine's clock by the seconds that a file holds, from now on; an empty name follows none.

    The file may change at any time, so a running product can be moved to the end of its month; settings refuse it in production.
    """
    global _source  # noqa: PLW0603
    _source = _Ahead(Path(file)).now if file else None


class _Ahead:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._ahead = timedelta(0)
        self._look_at = 0.0

    def now(self) -> datetime:
        at = time.monotonic()
        if at >= self._look_at:
            self._ahead, self._look_at = self._read(), at + _LOOK_EVERY_S
        return datetime.now(UTC) + self._ahead

    def _read(self) -> timedelta:
        """What was known stays while the file is missing or is being written."""
        try:
            return timedelta(seconds=int(self._path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            return self._ahead
