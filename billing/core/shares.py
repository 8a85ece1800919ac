"""Dividing whole minor units so that the parts always add up: shares, partial credits, tax and proration use these alone.

Every part is a difference of two rounded running totals. So a sequence of parts ends exactly at the whole, however it was cut.
"""

from __future__ import annotations

from collections.abc import Iterable

WHOLE_BPS = 10_000


def muldiv(amount: int, numerator: int, denominator: int) -> int:
    """`amount * numerator / denominator`, rounded half away from zero. `denominator` is positive."""
    if denominator <= 0:
        raise ValueError("the denominator must be positive")
    product = amount * numerator
    size = (2 * abs(product) + denominator) // (2 * denominator)
    return -size if product < 0 else size


def split(amounts: Iterable[int], bps: int) -> list[tuple[int, int]]:
    """Provider's and platform's part of each amount (minor units), the provider's being `bps` of 10,000 by running totals.

    The provider's parts sum to the rounded share of the sum; each part of an amount lies between zero and that amount.
    Call it for the lines of one provider on one invoice in the order of their keys: else one provider's cents would depend on
    another's.
    """
    if not 0 <= bps <= WHOLE_BPS:
        raise ValueError(f"a share is 0 to {WHOLE_BPS} basis points")
    parts: list[tuple[int, int]] = []
    total = shared = 0
    for amount in amounts:
        total += amount
        reached = muldiv(total, bps, WHOLE_BPS)
        parts.append((reached - shared, amount - (reached - shared)))
        shared = reached
    return parts


def part(whole: int, done: int, step: int, total: int) -> int:
    """What of `whole` belongs to the next `step` of `total`, when `done` of it has had its part before.

    `whole` is an amount in minor units that goes with a line of `total`; all parts sum to `whole` once the steps sum to `total`.
    """
    return muldiv(whole, done + step, total) - muldiv(whole, done, total)
