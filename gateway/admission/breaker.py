"""Closed: a server that keeps failing is left alone for a while, and its callers are told at once.

Opens after 5 failures in a row, or when at least half of at least 20 calls in 30 seconds failed. Stays open for 5 seconds
times the number of openings, at most 25 (or for as long as the server itself asked, up to 300), plus up to a tenth so that
processes do not knock together; then one call is let through as a probe.
A breaker that was warned (the marketplace's own checks found the server down) opens at the first failure instead; until a real
call has failed it refuses nothing, and one that succeeds takes the warning back.
Timeouts, broken connections and statuses from 500 count as failures; a tool's own error and statuses below 500 do not. Nor does
what one caller alone decides: a wait that it cut short, an answer that is too large.
State is of this process alone.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """Counts and seconds."""

    consecutive: int = 5
    ratio: float = 0.5
    minimum: int = 20
    window_s: float = 30.0
    open_s: float = 5.0
    open_max_s: float = 25.0
    retry_after_max_s: float = 300.0  # what a server may ask for
    jitter: float = 0.1


_PARTS = 6


class Breaker:
    """`now` is a monotonic clock in seconds, the same in every call."""

    __slots__ = (
        "_bad",
        "_config",
        "_good",
        "_part",
        "_part_s",
        "consecutive",
        "open_until",
        "openings",
        "probing",
        "state",
        "warned",
    )

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._part_s = config.window_s / _PARTS
        self._good, self._bad = [0] * _PARTS, [0] * _PARTS
        self._part = 0
        self.state = State.CLOSED
        self.consecutive = self.openings = 0
        self.open_until = 0.0
        self.probing = False
        self.warned = False

    def warn(self, now: float) -> None:
        """Somebody else found the server down. What calls of our own found within the window counts for more."""
        good, _ = self.rates(now)
        self.warned = not good

    def blocked_s(self, now: float) -> float:
        """Seconds for which no call may pass; 0 when one may. Asking changes nothing."""
        if self.state is State.CLOSED:
            return 0.0
        if now < self.open_until:
            return self.open_until - now
        return 1.0 if self.probing else 0.0

    def enter(self, now: float) -> bool:
        """Whether this call is the probe of a breaker that has been open long enough. Only when `blocked_s` is 0."""
        if self.state is State.CLOSED:
            return False
        self.state, self.probing = State.HALF_OPEN, True
        return True

    def succeed(self, now: float) -> None:
        self.consecutive = 0
        self.warned = False
        if self.state is not State.CLOSED:
            if not self.probing:
                return  # an answer to a call from before the opening says nothing about the present
            self._close()
        self._good[self._turn(now)] += 1

    def fail(self, now: float, retry_after_s: float = 0.0) -> None:
        """`retry_after_s` is what the server itself asked for."""
        if self.state is State.OPEN:
            return
        self.consecutive += 1
        self._bad[self._turn(now)] += 1
        if self.state is State.HALF_OPEN or self._is_too_much():
            self._open(now, retry_after_s)

    def leave(self) -> None:
        """The probe ended without saying anything about the server: the next call is the probe."""
        self.probing = False

    def rates(self, now: float) -> tuple[int, int]:
        """Good and bad calls within the window."""
        self._turn(now)
        return sum(self._good), sum(self._bad)

    def _is_too_much(self) -> bool:
        if self.warned or self.consecutive >= self._config.consecutive:
            return True
        bad = sum(self._bad)
        total = bad + sum(self._good)
        return total >= self._config.minimum and bad >= self._config.ratio * total

    def _open(self, now: float, retry_after_s: float) -> None:
        config = self._config
        if now - self.open_until > config.open_max_s:
            self.openings = 0  # it has been well for long
        self.openings += 1
        asked = min(retry_after_s, config.retry_after_max_s)
        seconds = max(min(config.open_s * self.openings, config.open_max_s), asked)
        self.open_until = now + seconds * (1 + random.random() * config.jitter)  # noqa: S311 - no secret
        self.state, self.probing = State.OPEN, False

    def _close(self) -> None:
        self.state, self.probing = State.CLOSED, False
        self._good, self._bad = [0] * _PARTS, [0] * _PARTS

    def _turn(self, now: float) -> int:
        """The part of the window that `now` falls in, after forgetting what has left the window."""
        part = math.floor(now / self._part_s)
        if part != self._part:
            for gone in range(self._part + 1, min(part, self._part + _PARTS) + 1):
                self._good[gone % _PARTS] = self._bad[gone % _PARTS] = 0
            self._part = part
        return part % _PARTS
