"""The tabs above the pages of an organisation's money, one line a page."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from tenants.requests import OrganisationRequest

# name in the page's own call, label, URL name
TABS = (
    ("spend", "Spend", "org:spend"),
    ("budgets", "Budgets", "org:budgets"),
    ("invoices", "Invoices", "org:invoices"),
    ("preview", "Next invoice", "org:invoice-preview"),
    ("plan", "Plan", "org:plan"),
    ("profile", "Billed to", "org:billing-profile"),
    ("payments", "Payments", "org:payments"),
    ("credit", "Credit", "org:credit"),
    ("cards", "Payment methods", "org:cards"),
)  # fmt: skip


def tabs(request: OrganisationRequest, org: str, active: str) -> list[dict[str, Any]]:
    """For `components/_tabs.html`."""
    return [{"label": label, "url": reverse(url, args=[org]), "active": name == active} for name, label, url in TABS]
