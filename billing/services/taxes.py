"""The tax engine that the settings choose."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from billing.core.tax import FixedRates, NoTax, TaxEngine

_PPM_OF_PERCENT = 10_000


def engine() -> TaxEngine:
    """FixedRates when there are rates, else NoTax. A service that knows every rate would be a third one of the protocol."""
    rates = dict(_rate(entry) for entry in settings.BILLING_TAX_RATES)
    if not rates:
        return NoTax()
    return FixedRates(rates, frozenset(country.upper() for country in settings.BILLING_REVERSE_CHARGE))


def _rate(entry: str) -> tuple[str, int]:
    country, _, text = entry.partition("=")
    try:
        ppm = Decimal(text.strip()) * _PPM_OF_PERCENT
    except InvalidOperation:
        ppm = Decimal(-1)
    if ppm < 0 or ppm != int(ppm) or len(country.strip()) != 2:
        raise ImproperlyConfigured(f"MARKETPLACE_TAX_RATES: {entry!r} is not like DE=19")
    return country.strip().upper(), int(ppm)
