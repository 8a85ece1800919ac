"""Whether a price costs somebody more than the one before it. In doubt it does, because a rise is told ahead."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from math import lcm

from billing.core.rating import MAX_UNITS, Kind, PriceModel, rate

_FREE = PriceModel(Kind.PER_UNIT)
# Packages of two sizes are compared start by start until both begin together; beyond so many starts nobody looks.
_STARTS_MAX = 5_000


def rises(before: PriceModel | None, after: PriceModel) -> bool:
    """Whether some number of calls in a month costs more after than before. No price before means free.

    Both prices are straight lines between the edges of their tiers, with steps at packages, so that their difference is
    greatest at an edge or at the first call of a package next to one: only these are looked at.
    """
    old = before or _FREE
    if old == after or after.is_free:
        return False
    if old.kind is Kind.PACKAGE and after.kind is Kind.PACKAGE and old.size != after.size:
        return _packages_rise(old, after)
    return any(rate(after, units) > rate(old, units) for units in _telling(old, after))


def _telling(*models: PriceModel) -> set[int]:
    edges = {0, MAX_UNITS, MAX_UNITS * 10}
    for model in models:
        edges |= {model.free, *(model.free + tier.up_to for tier in model.tiers if tier.up_to)}
    near = {edge + step for edge in edges for step in (-1, 0, 1)}
    for model in models:
        if model.kind is Kind.PACKAGE:
            near |= set(_starts(model, edges))
    return {units for units in near if units >= 0}


def _starts(model: PriceModel, edges: Iterable[int]) -> Iterable[int]:
    """The first calls, and the last ones, of the packages around each edge."""
    for edge in edges:
        at = max(0, edge - model.free) // model.size
        for number in (at - 1, at, at + 1):
            first = model.free + number * model.size + 1
            yield from (first - 1, first)


def _packages_rise(old: PriceModel, after: PriceModel) -> bool:
    """The difference repeats once both sizes fit: compare slopes, then each start until then."""
    if Decimal(old.size) * after.rate > Decimal(after.size) * old.rate:
        return True
    reach = lcm(old.size, after.size) + max(old.free, after.free)
    if reach // after.size > _STARTS_MAX:
        return True
    starts = range(after.free + 1, after.free + reach + after.size + 1, after.size)
    return any(rate(after, units) > rate(old, units) for units in starts)
