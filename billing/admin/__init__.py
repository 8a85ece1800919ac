"""Billing in the operators' admin, one module a subject."""

from billing.admin import fraud, invoices, ledger, plans, prices, proposals, reconciliation

__all__ = ["fraud", "invoices", "ledger", "plans", "prices", "proposals", "reconciliation"]
