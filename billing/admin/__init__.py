"""Billing in the operators' admin, one module a subject."""

from billing.admin import prices

__all__ = ["prices"]
