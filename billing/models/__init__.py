"""Rows of billing, one module a subject. All of them live in `public` and say whose they are by a tenant or a provider."""

from billing.models.ledger import LedgerAccount, LedgerBalance, LedgerPosting, LedgerSnapshot, LedgerTransaction
from billing.models.price import PriceVersion

__all__ = [
    "LedgerAccount",
    "LedgerBalance",
    "LedgerPosting",
    "LedgerSnapshot",
    "LedgerTransaction",
    "PriceVersion",
]
