"""Times and amounts as people read them, each with an exact form beside it.

A short form may round; the exact form never does, and always names its zone or its currency.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from core.money import exponent

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
# Prices per call are often far below one minor unit; six places show a millionth.
SMALL_AMOUNT_PLACES = 6


def exact_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def relative_time(moment: datetime, now: datetime) -> str:
    """Such as "3 min ago" or "in 2 h"; beyond 30 days the date, because "47 d ago" helps nobody."""
    seconds = (now - moment).total_seconds()
    distance = abs(seconds)
    if distance < 10:
        return "just now"
    if distance >= 30 * DAY_S:
        return moment.astimezone(UTC).strftime("%Y-%m-%d")
    span = _span(distance)
    return f"{span} ago" if seconds > 0 else f"in {span}"


def _span(seconds: float) -> str:
    if seconds < MINUTE_S:
        return f"{int(seconds)} s"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min"
    if seconds < DAY_S:
        return f"{int(seconds // HOUR_S)} h"
    return f"{int(seconds // DAY_S)} d"


def short_amount(amount: Decimal, currency: str) -> str:
    """The amount to the places of its currency; below one unit, as many places as it takes (at most six)."""
    places = exponent(currency)
    if 0 < abs(amount) < 1:
        wanted = -int(amount.normalize().as_tuple().exponent)
        places = min(max(places, wanted), SMALL_AMOUNT_PLACES)
    rounded = amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    if amount and not rounded:
        return f"under {Decimal(1).scaleb(-places):f}"  # a price is never shown as nothing
    return f"{rounded:,.{places}f}"


def exact_amount(amount: Decimal, currency: str) -> str:
    return f"{amount:f} {currency}"


def compact_number(value: float) -> str:
    """12 → 12, 4321 → 4.3k, 2500000 → 2.5M; for tiles and axes, where the exact number is a hover away."""
    for limit, suffix in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if abs(value) >= limit:
            return f"{float(value) / limit:.1f}".removesuffix(".0") + suffix
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{int(value)}"
