"""Jobs of billing, one module a subject; what is imported here is what Celery finds."""

from billing.tasks import earnings, failures, fraud, invoices, payments, periods, prices, reconciliation

__all__ = ["earnings", "failures", "fraud", "invoices", "payments", "periods", "prices", "reconciliation"]
