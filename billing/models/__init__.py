"""Rows of billing, one module a subject. All of them live in `public` and say whose they are by a tenant or a provider."""

from billing.models.price import PriceVersion

__all__ = [
    "PriceVersion",
]
