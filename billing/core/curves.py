"""What one more call adds to a month's bill, by how many calls there were before: for gateways, in whole units of money.

A curve is `rating.rate` that never falls: where a `volume` price lowers the total at a tier, calls add nothing until the total is
above what it had been. So what calls add sums to the month's price, or to more by that fall, whatever their number is.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from billing.core.rating import MAX_UNITS, Kind, PriceModel

_ENDLESS = 10 * MAX_UNITS


class Curve:
    """`scale` turns major units of a currency into whole units of money; every price has to be whole in it."""

    __slots__ = ("_first", "_period", "_runs")

    def __init__(self, model: PriceModel, scale: int) -> None:
        self._period = model.size if model.kind is Kind.PACKAGE and model.size > 1 else 0
        self._first = model.free
        self._runs = tuple(_runs(model, scale))

    def runs(self, after: int, count: int) -> list[tuple[int, int]]:
        """What each of the next `count` calls after so many adds: (amount, how many calls in a row)."""
        found: list[tuple[int, int]] = []
        while count > 0:
            amount, left = self._at(after)
            part = min(left, count)
            found.append((amount, part))
            after, count = after + part, count - part
        return found

    def cost(self, after: int, count: int) -> int:
        """What the next `count` calls add together."""
        return sum(amount * part for amount, part in self.runs(after, count))

    def most(self, after: int, count: int) -> int:
        """The most that one of the next `count` calls adds."""
        if self._period and count >= self._period and after >= self._first:
            return self._runs[-1][1]
        return max((amount for amount, _ in self.runs(after, count)), default=0)

    def left(self, after: int) -> int:
        """How many of the next calls add the same."""
        return self._at(after)[1]

    def _at(self, after: int) -> tuple[int, int]:
        """What the next call adds, and how many from it on add the same."""
        if self._period and after >= self._first:
            place = (after - self._first) % self._period
            return (self._runs[-1][1], 1) if not place else (0, self._period - place)
        for end, amount in self._runs:
            if after < end:
                return amount, end - after
        return self._runs[-1][1], _ENDLESS


def _runs(model: PriceModel, scale: int) -> Iterator[tuple[int, int]]:
    """(number of the last call, what each adds) in order; of packages the last is what the first call of each adds."""
    if model.free:
        yield model.free, 0
    match model.kind:
        case Kind.PER_UNIT | Kind.PACKAGE:
            yield _ENDLESS, _whole(model.rate, scale)
        case Kind.GRADUATED:
            yield from _graduated(model, scale)
        case Kind.VOLUME:
            yield from _volume(model, scale)


def _graduated(model: PriceModel, scale: int) -> Iterator[tuple[int, int]]:
    below = model.free
    for tier in model.tiers:
        if tier.flat:
            below += 1
            yield below, _whole(tier.rate + tier.flat, scale)
        end = _ENDLESS if tier.up_to is None else model.free + tier.up_to
        if end > below:
            yield end, _whole(tier.rate, scale)
        below = end


def _volume(model: PriceModel, scale: int) -> Iterator[tuple[int, int]]:
    """Within each tier nothing until the total is above the highest before, then the rest of that call, then the rate."""
    below, highest = 0, 0
    for tier in model.tiers:
        end, each, flat = tier.up_to or _ENDLESS, _whole(tier.rate, scale), _whole(tier.flat, scale)
        first = below + 1
        if first * each + flat <= highest:
            first = (highest - flat) // each + 1 if each else end + 1
        if first > below + 1:
            yield model.free + min(first - 1, end), 0
        if first <= end:
            yield model.free + first, first * each + flat - highest
            if end > first:
                yield model.free + end, each
            highest = end * each + flat
        below = end


def _whole(amount: Decimal, scale: int) -> int:
    whole = amount * scale
    if whole != int(whole):
        raise ValueError("more decimals than money has")
    return int(whole)
