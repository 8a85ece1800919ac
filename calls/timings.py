"""The steps of a call with the moment at which each ended, as short text: `name:microseconds` since the start, in order.

Microseconds are whole numbers. A step takes from the end of the one before to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from operator import floordiv, sub

from calls.rows import MAX_TEXT


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `began_us` and `took_us` in microseconds since the call's start."""

    name: str
    began_us: int
    took_us: int


@lru_cache(maxsize=256)
def _form(names: tuple[str, ...]) -> str:
    """Most calls take the same steps."""
    return ",".join([f"{name}:%d" for name in names])


def encode(started_ns: int, marks: Sequence[tuple[str, int]]) -> str:
    """Marks are (step, perf_counter_ns at its end). What does not fit into the column is left out at the end."""
    if not marks:
        return ""
    names, moments = zip(*marks, strict=True)
    text = _form(names) % tuple(map(floordiv, map(sub, moments, repeat(started_ns)), repeat(1000)))
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT].rpartition(",")[0]


def decode(text: str) -> list[Step]:
    """The steps of a row; whatever cannot be read is left out, because a page is no place to fail."""
    steps: list[Step] = []
    before = 0
    for part in text.split(","):
        name, _, at = part.partition(":")
        if name and at.isdecimal():
            end = max(int(at), before)
            steps.append(Step(name, before, end - before))
            before = end
    return steps
