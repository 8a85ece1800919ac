"""Numbers of documents: without a gap within a legal entity, series and year."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings

from billing.models import InvoiceCounter

INVOICES, CREDIT_NOTES = "INV", "CN"


def take(series: str, at: datetime) -> str:
    """The next number of a series. Called last in a transaction: the counter's row stays locked until it ends, and a number
    that was taken by one that failed is taken by the next."""
    entity = settings.BILLING_ENTITY
    InvoiceCounter.objects.get_or_create(entity=entity, series=series, year=at.year)
    counter = InvoiceCounter.objects.select_for_update().get(entity=entity, series=series, year=at.year)
    counter.last += 1
    counter.save(update_fields=["last"])
    return "-".join(part for part in (entity, series, str(at.year), f"{counter.last:06d}") if part)
