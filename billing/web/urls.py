"""The pages of money, one line a subject: of an organisation (`/o/<org>/…`), of operators (`/operations/billing/…`), and the
addresses that payment providers call (`/webhooks/…`)."""

from __future__ import annotations

from billing.web import (
    credit,
    earnings,
    exceptions,
    fraud,
    invoices,
    payments,
    plans,
    proposals,
    reconciliation,
    revenue,
    usage,
)

organisation = [
    *plans.urls,
    *usage.urls,
    *invoices.urls,
    *earnings.urls,
    *payments.urls,
    *credit.urls,
]

operations = [
    *plans.operations,
    *usage.operations,
    *invoices.operations,
    *earnings.operations,
    *payments.operations,
    *reconciliation.operations,
    *proposals.operations,
    *exceptions.operations,
    *revenue.operations,
    *fraud.operations,
]

callbacks = [
    *payments.callbacks,
]
