"""Billing in the operators' admin, one module a subject."""

from billing.admin import ledger, plans, prices

__all__ = ["ledger", "plans", "prices"]
