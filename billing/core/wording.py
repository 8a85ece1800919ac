"""A price in words: short beside a name, whole where somebody decides."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from billing.core.rating import Kind, PriceModel, Tier, plain, quote


def unit(model: PriceModel) -> str:
    """What the amount of `lead` is for, after "per"."""
    match model.kind:
        case Kind.PACKAGE if model.size > 1:
            return f"{model.size:,} calls"
        case Kind.PER_UNIT | Kind.PACKAGE:
            base = "call"
        case Kind.GRADUATED:
            base = "call, less with more" if _falls(model.tiers) else "call at first"
        case Kind.VOLUME:
            base = "call, by volume"
    return f"{base} after {model.free:,} free a month" if model.free else base


def lead(model: PriceModel) -> Decimal:
    """The amount that is shown first: the rate, of tiers the first one that costs."""
    return next((tier.rate for tier in model.tiers if tier.rate), quote(model)) if model.tiers else model.rate


def words(model: PriceModel, currency: str) -> str:
    """The whole price as part of a sentence: "0.02 USD per call after 100 free calls a month"."""
    if model.is_free:
        return "nothing"
    free = f", after {model.free:,} free calls a month" if model.free else ""
    match model.kind:
        case Kind.PER_UNIT:
            return f"{plain(model.rate)} {currency} per call{free}"
        case Kind.PACKAGE:
            return f"{plain(model.rate)} {currency} for each {model.size:,} calls that are begun{free}"
        case Kind.GRADUATED:
            return f"{_steps(model.tiers, currency)}{free}"
        case Kind.VOLUME:
            return f"by the number of calls of the month, for all of them: {_steps(model.tiers, currency)}{free}"


def _falls(tiers: tuple[Tier, ...]) -> bool:
    return all(one.rate >= other.rate for one, other in pairwise(tiers))


def _steps(tiers: tuple[Tier, ...], currency: str) -> str:
    parts, below = [], 0
    for tier in tiers:
        reach = (
            f"from {below + 1:,} to {tier.up_to:,}" if tier.up_to else f"from {below + 1:,} on" if below else "always"
        )
        flat = f" and {plain(tier.flat)} {currency} once" if tier.flat else ""
        parts.append(f"{plain(tier.rate)} {currency} per call{flat} {reach}")
        below = tier.up_to or below
    return "; ".join(parts)
