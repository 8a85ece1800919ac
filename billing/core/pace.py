"""When a day's paid calls are a sudden multiple of what was usual."""

from __future__ import annotations


def jumped(units: int, past: int, days: int, multiple: int, least: int) -> bool:
    """`units` of one day against `past` units of the `days` before it. Below `least` they say nothing, nor without a past."""
    return units >= least and past > 0 and units * days > past * multiple
