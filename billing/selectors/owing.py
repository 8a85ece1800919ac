"""What an organisation owes, since when, and from when on its tools with a price are stopped because of that."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import F

from billing.models import Invoice, InvoiceState
from core import clock

# So many days after an invoice was opened, pages say that it is owed.
TOLD_AFTER = timedelta(days=7)


def oldest(tenant_id: UUID) -> Invoice | None:
    """The invoice that has been owed for longest, one that was given up included; None when nothing is owed."""
    rows = Invoice.objects.filter(
        tenant_id=tenant_id,
        state__in=(InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE),
        opened_at__isnull=False,
        total_minor__gt=F("paid_minor") + F("credited_minor"),
    )
    return rows.order_by("opened_at").first()


def stops_at(tenant_id: UUID) -> datetime | None:
    """From when on tools with a price are stopped unless what is owed is paid; None when nothing is owed."""
    invoice = oldest(tenant_id)
    return None if invoice is None else stop_of(invoice)


def stop_of(invoice: Invoice) -> datetime:
    assert invoice.opened_at is not None
    return invoice.opened_at + timedelta(days=settings.PAYMENT_BLOCK_DAYS)


def overdue(tenant_id: UUID) -> Invoice | None:
    """What pages of the organisation tell of: the oldest invoice, when it has been owed for a week."""
    invoice = oldest(tenant_id)
    if invoice is None or invoice.opened_at is None or clock.now() - invoice.opened_at < TOLD_AFTER:
        return None
    return invoice


def payable(invoice: Invoice) -> int:
    """What a person may pay of an invoice, in minor units: also of one that was given up, since it stops tools too."""
    return invoice.owed_minor if invoice.state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE) else 0
