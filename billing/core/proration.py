"""What of a price belongs to a piece of its period. Pieces of a period always add up to the price."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from billing.core.shares import part

_TICK = timedelta(microseconds=1)


def portion(minor: int, period: tuple[datetime, datetime], piece: tuple[datetime, datetime]) -> int:
    """The part of `minor` that belongs to the half-open `piece` of the half-open `period`; a piece outside counts nothing."""
    start, end = period
    if end <= start:
        raise ValueError("a period ends after it starts")
    first, last = max(start, piece[0]), min(end, piece[1])
    if last <= first:
        return 0
    return part(minor, (first - start) // _TICK, (last - first) // _TICK, (end - start) // _TICK)


def pieces(minor: int, period: tuple[datetime, datetime], cuts: Sequence[datetime]) -> list[int]:
    """The parts of `minor` between the moments of `cuts` (ascending, inside the period): one more than there are cuts."""
    edges = [period[0], *cuts, period[1]]
    return [portion(minor, period, (edges[i], edges[i + 1])) for i in range(len(edges) - 1)]
