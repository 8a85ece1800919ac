"""The pages of money, one line a subject: of an organisation (`/o/<org>/…`), of operators (`/operations/billing/…`), and the
addresses that payment providers call (`/webhooks/…`)."""

from __future__ import annotations

from billing.web import credit, earnings, invoices, payments, plans, reconciliation, usage

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
]

callbacks = [
    *payments.callbacks,
]
