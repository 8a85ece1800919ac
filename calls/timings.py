"""The steps of a call with the moment at which each ended, as short text: `name:microseconds` since the start, in order.

Microseconds are whole numbers. A step takes from the end of the one before to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calls.rows import MAX_TEXT


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `began_us` and `took_us` in microseconds since the call's start."""

    name: str
    began_us: int
    took_us: int


def encode(started_ns: int, marks: Sequence[tuple[str, int]]) -> str:
    """Marks are (step, perf_counter_ns at its end). What does not fit into the column is left out at the end."""
    text = ",".join([f"{name}:{(at - started_ns) // 1000}" for name, at in marks])
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
