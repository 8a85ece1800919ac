"""The REST API of money, `/api/v1/billing/…`, one line a subject."""

from __future__ import annotations

from billing.api import credit, earnings, invoices, payments, plans, usage

urlpatterns = [
    *plans.urls,
    *usage.urls,
    *invoices.urls,
    *earnings.urls,
    *payments.urls,
    *credit.urls,
]
