"""Billing in the operators' admin, one module a subject."""

from billing.admin import plans, prices

__all__ = ["plans", "prices"]
