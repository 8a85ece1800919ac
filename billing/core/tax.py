"""What tax a sale bears. Pure: the answer follows from the sale and the engine's table, and is frozen on the invoice.

Rates are whole parts per million (19 % is 190,000), because some rates have three places behind the point. Tax is taken once
on the net of an invoice and never per line: sums of rounded parts differ from the rounded sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from billing.core.shares import muldiv

PPM = 1_000_000
STANDARD, REVERSE_CHARGE, NOT_SUBJECT, EXPORT = "S", "AE", "O", "G"  # UNTDID 5305, as EN 16931 uses it
REVERSE_CHARGE_TEXT = "Reverse charge: the recipient of the service owes the tax."


@dataclass(frozen=True, slots=True)
class Sale:
    """What an engine must know. Countries are ISO 3166-1 alpha-2, empty when unknown; `net_minor` is the rounded net."""

    seller_country: str
    buyer_country: str
    buyer_tax_id: str
    net_minor: int


@dataclass(frozen=True, slots=True)
class TaxLine:
    """One tax of a sale: `minor` of it on `base_minor`."""

    label: str
    jurisdiction: str
    category: str
    rate_ppm: int
    base_minor: int
    minor: int


class TaxEngine(Protocol):
    def assess(self, sale: Sale) -> TaxLine: ...


@dataclass(frozen=True, slots=True)
class NoTax:
    """A seller who charges no tax: its sales are outside the scope of one, or it settles them elsewhere."""

    def assess(self, sale: Sale) -> TaxLine:
        return _untaxed(sale, NOT_SUBJECT, "No tax")


@dataclass(frozen=True, slots=True)
class FixedRates:
    """Rates by the buyer's country, as the operator has stated them. A buyer whose country is unknown is taxed as at home.

    Between two countries of `reverse_charge`, a buyer with a tax id owes the tax itself. A country without a rate is an export.
    """

    rates_ppm: Mapping[str, int]
    reverse_charge: frozenset[str] = field(default_factory=frozenset)

    def assess(self, sale: Sale) -> TaxLine:
        country = sale.buyer_country or sale.seller_country
        if self._is_reversed(sale, country):
            return _untaxed(sale, REVERSE_CHARGE, REVERSE_CHARGE_TEXT)
        if country not in self.rates_ppm:
            return _untaxed(sale, EXPORT, f"No tax on services to {country}" if country else "No tax")
        rate = self.rates_ppm[country]
        return TaxLine(
            label=f"Tax {country} {percent(rate)} %",
            jurisdiction=country,
            category=STANDARD,
            rate_ppm=rate,
            base_minor=sale.net_minor,
            minor=muldiv(sale.net_minor, rate, PPM),
        )

    def _is_reversed(self, sale: Sale, country: str) -> bool:
        both = {sale.seller_country, country} <= self.reverse_charge
        return both and country != sale.seller_country and bool(sale.buyer_tax_id)


def percent(rate_ppm: int) -> str:
    """190000 as "19", 88750 as "8.875"."""
    whole, rest = divmod(rate_ppm, 10_000)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".")


def _untaxed(sale: Sale, category: str, label: str) -> TaxLine:
    return TaxLine(label, sale.buyer_country, category, 0, sale.net_minor, 0)
