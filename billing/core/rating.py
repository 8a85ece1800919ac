"""What a quantity costs under a price model: exact decimals, in major units of the price's currency.

`rate` is a function of the running total of a period, so that any way of cutting a period telescopes:
the days of a month are `rate(cumulative) - rate(cumulative before)` and sum to the month without rounding. Money is rounded once,
on the invoice line. A unit is a billable call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException, Inexact, localcontext
from enum import StrEnum
from itertools import pairwise
from typing import Any

from core.errors import InvalidError

# Any silent loss of a digit raises. Rates have 10 digits behind the point, quantities 6.
_EXACT = Context(prec=60, traps=[Inexact])
_ZERO = Decimal(0)

RATE_DECIMALS = 10
MAX_RATE = Decimal(1_000_000)
_FINEST = Decimal(1).scaleb(-RATE_DECIMALS)
MAX_UNITS = 10**12
MAX_TIERS = 20


class Kind(StrEnum):
    PER_UNIT = "per_unit"
    PACKAGE = "package"
    GRADUATED = "graduated"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class Tier:
    """Units up to and including `up_to` (None: all others) cost `rate` each; entering the tier costs `flat` once."""

    up_to: int | None
    rate: Decimal
    flat: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class PriceModel:
    """How units cost. `free` units of each organisation and month are paid by the provider and counted first.

    per_unit: `rate` each. package: `rate` for each started `size` units. graduated: each unit at the rate of the tier that it
    falls in. volume: all units at the rate of the tier that the total falls in.
    """

    kind: Kind
    rate: Decimal = _ZERO
    size: int = 1
    tiers: tuple[Tier, ...] = ()
    free: int = 0

    @property
    def is_free(self) -> bool:
        """Whether no quantity ever costs anything."""
        if self.tiers:
            return not any(tier.rate or tier.flat for tier in self.tiers)
        return not self.rate

    @property
    def is_flat(self) -> bool:
        """Whether each call costs the same, whatever was called before."""
        return self.is_free or (self.kind is Kind.PER_UNIT and not self.free)


def rate(model: PriceModel, quantity: Decimal | int) -> Decimal:
    """The exact price of `quantity` units of one organisation in one period. Never negative; zero for nothing.

    It never falls when the quantity rises, except with `volume`, where reaching a cheaper tier may lower the total: a day can
    then cost less than nothing, and the month is right.
    """
    with localcontext(_EXACT):
        paid = max(_ZERO, Decimal(quantity) - model.free)
        if not paid:
            return _ZERO
        match model.kind:
            case Kind.PER_UNIT:
                return paid * model.rate
            case Kind.PACKAGE:
                whole, rest = divmod(paid, Decimal(model.size))
                return (whole + (1 if rest else 0)) * model.rate
            case Kind.VOLUME:
                tier = next(tier for tier in model.tiers if tier.up_to is None or paid <= tier.up_to)
                return paid * tier.rate + tier.flat
            case Kind.GRADUATED:
                return _graduated(model.tiers, paid)


def _graduated(tiers: Sequence[Tier], paid: Decimal) -> Decimal:
    total, below = _ZERO, _ZERO
    for tier in tiers:
        if paid <= below:
            break
        top = paid if tier.up_to is None else min(paid, Decimal(tier.up_to))
        total += (top - below) * tier.rate + tier.flat
        below = top
    return total


def free_units(model: PriceModel, quantity: Decimal | int) -> Decimal:
    """How many of `quantity` units the provider gives."""
    return min(Decimal(quantity), Decimal(model.free))


def quote(model: PriceModel) -> Decimal:
    """The most that one more call can cost, whatever was called before: what is shown before the call, and what caps hold.

    For `per_unit` it is the price of each call beyond the free ones; for the other kinds it is said as "up to".
    """
    with localcontext(_EXACT):
        match model.kind:
            case Kind.PER_UNIT | Kind.PACKAGE:
                return model.rate
            case Kind.GRADUATED:
                return max(tier.rate + tier.flat for tier in model.tiers)
            case Kind.VOLUME:
                return max(_ZERO, *_volume_steps(model.tiers))


def _volume_steps(tiers: Sequence[Tier]) -> list[Decimal]:
    """What single units cost that a `volume` model can charge: within each tier, and at the step into each."""
    steps = [tiers[0].rate + tiers[0].flat]
    for before, tier in pairwise(tiers):
        edge = Decimal(before.up_to or 0)
        steps += [(edge + 1) * tier.rate + tier.flat - edge * before.rate - before.flat]
    return steps + [tier.rate for tier in tiers]


def parse(data: Mapping[str, Any]) -> PriceModel:
    """The model that stored or sent JSON says. Raises InvalidError that names the field and what to write instead.

    Decimals are strings (or whole numbers), because JSON's numbers are read as binary fractions.
    """
    if not isinstance(data, Mapping):
        raise _invalid("model", "A price model is an object with a kind.")
    try:
        kind = Kind(str(data.get("kind", "")))
    except ValueError:
        raise _invalid("kind", f"Choose one of {', '.join(Kind)}.") from None
    unknown = sorted(set(data) - _FIELDS[kind])
    if unknown:
        raise _invalid(str(unknown[0]), f"A {kind} price has {', '.join(sorted(_FIELDS[kind] - {'kind'}))} only.")
    free = _units(data.get("free", 0), "free", least=0)
    match kind:
        case Kind.PER_UNIT:
            return PriceModel(kind, rate=_rate(data.get("rate"), "rate"), free=free)
        case Kind.PACKAGE:
            return PriceModel(
                kind, rate=_rate(data.get("rate"), "rate"), size=_units(data.get("size"), "size", least=1), free=free
            )
        case _:
            return PriceModel(kind, tiers=_tiers(data.get("tiers")), free=free)


_FIELDS: dict[Kind, frozenset[str]] = {
    Kind.PER_UNIT: frozenset({"kind", "rate", "free"}),
    Kind.PACKAGE: frozenset({"kind", "rate", "size", "free"}),
    Kind.GRADUATED: frozenset({"kind", "tiers", "free"}),
    Kind.VOLUME: frozenset({"kind", "tiers", "free"}),
}


def _tiers(data: Any) -> tuple[Tier, ...]:
    if not isinstance(data, list | tuple) or not 1 <= len(data) <= MAX_TIERS:
        raise _invalid("tiers", f"Give 1 to {MAX_TIERS} tiers.")
    tiers = tuple(_tier(item, f"tiers[{place}]") for place, item in enumerate(data))
    below = 0
    for place, tier in enumerate(tiers):
        last = place == len(tiers) - 1
        if (tier.up_to is None) != last:
            raise _invalid(f"tiers[{place}].up_to", "The last tier, and only that one, has no upper end.")
        if tier.up_to is not None and tier.up_to <= below:
            raise _invalid(f"tiers[{place}].up_to", "Each tier ends above the one before it.")
        below = tier.up_to or below
    return tiers


def _tier(data: Any, field: str) -> Tier:
    if not isinstance(data, Mapping) or set(data) - {"up_to", "rate", "flat"}:
        raise _invalid(field, "A tier has up_to, rate and flat.")
    up_to = data.get("up_to")
    return Tier(
        up_to=None if up_to is None else _units(up_to, f"{field}.up_to", least=1),
        rate=_rate(data.get("rate"), f"{field}.rate"),
        flat=_rate(data.get("flat", "0"), f"{field}.flat"),
    )


def _rate(value: Any, field: str) -> Decimal:
    """A price in major units: zero or more, with at most ten digits behind the point."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal) or len(str(value)) > 40:
        raise _invalid(field, 'Give the amount as text, such as "0.02".')
    try:
        amount = Decimal(value)
    except DecimalException:
        raise _invalid(field, 'Give an amount, such as "0.02".') from None
    if not amount.is_finite() or amount < 0 or amount > MAX_RATE:
        raise _invalid(field, f"An amount is between 0 and {MAX_RATE:,}.")
    with localcontext(_EXACT):
        try:
            amount.quantize(_FINEST)
        except Inexact:
            raise _invalid(field, f"An amount has at most {RATE_DECIMALS} digits behind the point.") from None
        return abs(amount)


def _units(value: Any, field: str, *, least: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 13:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_UNITS:
        raise _invalid(field, f"Give a whole number of calls from {least:,} to {MAX_UNITS:,}.")
    return value


def _invalid(field: str, message: str) -> InvalidError:
    return InvalidError(message, code="billing.model_invalid", field=field)


def dump(model: PriceModel) -> dict[str, Any]:
    """The JSON of a model; `parse` reads it back to an equal one. Equal models have equal JSON."""
    data: dict[str, Any] = {"kind": model.kind.value}
    if model.kind in (Kind.PER_UNIT, Kind.PACKAGE):
        data["rate"] = plain(model.rate)
    if model.kind is Kind.PACKAGE:
        data["size"] = model.size
    if model.tiers:
        data["tiers"] = [
            {"up_to": tier.up_to, "rate": plain(tier.rate), "flat": plain(tier.flat)} for tier in model.tiers
        ]
    if model.free:
        data["free"] = model.free
    return data


def plain(amount: Decimal) -> str:
    """A decimal in digits, without an exponent and without zeros at the end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def per_unit(amount: Decimal) -> PriceModel:
    """The simplest model: each call costs the same."""
    return PriceModel(Kind.PER_UNIT, rate=amount)
