"""Billing in the operators' admin, one module a subject."""

from billing.admin import invoices, ledger, plans, prices, proposals, reconciliation

__all__ = ["invoices", "ledger", "plans", "prices", "proposals", "reconciliation"]
