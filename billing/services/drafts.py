"""Drafts of invoices, kept until they are opened: made again, a draft is replaced line by line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from billing.core import composing
from billing.core.composing import Composition, Line
from billing.models import Invoice, InvoiceKind, InvoiceLine, InvoiceState
from billing.services import profiles, taxes
from tenants.models import Tenant

_MEAN_OF = 3  # invoices before, against which a sudden growth shows


def compose(tenant: Tenant, month: date, lines: Iterable[Line]) -> Composition:
    """Lines with the tax on them and with what is doubtful about them."""
    buyer = profiles.buyer(tenant)
    return composing.compose(
        lines,
        currency=settings.BILLING_CURRENCY,
        engine=taxes.engine(),
        seller_country=profiles.seller()["country"],
        buyer_country=str(buyer["country"]),
        buyer_tax_id=str(buyer["tax_id"]),
        earlier_totals=_earlier_totals(tenant, month),
    )


def keep(tenant: Tenant, month: date, made: Composition, *, period_id: int | None = None) -> Invoice | None:
    """The draft of a month with these lines, in place of those it had; None when there are none.

    An invoice that was opened is returned as it is. What was composed from a closed month is the same each time, so that it does
    not matter who keeps it last.
    """
    with transaction.atomic():
        if not made.lines:
            _live_ones(tenant, month).filter(state=InvoiceState.DRAFT).delete()
            return _live_ones(tenant, month).first()
        invoice, _ = (
            _live_ones(tenant, month)
            .select_for_update()
            .get_or_create(tenant=tenant, month=month, kind=InvoiceKind.MONTH, defaults={"currency": made.currency})
        )
        if invoice.state != InvoiceState.DRAFT:
            return invoice
        invoice.period_id = period_id
        fill(invoice, made)
    return invoice


def _live_ones(tenant: Tenant, month: date) -> QuerySet[Invoice]:
    return Invoice.objects.filter(tenant=tenant, month=month, kind=InvoiceKind.MONTH).exclude(state=InvoiceState.VOID)


def fill(invoice: Invoice, made: Composition) -> None:
    """Put these lines and sums in the place of a draft's."""
    invoice.lines.all().delete()
    invoice.currency = made.currency
    invoice.net_minor, invoice.tax_minor, invoice.total_minor = made.net_minor, made.tax_minor, made.total_minor
    invoice.warnings = [asdict(doubt) for doubt in made.warnings]
    invoice.save()
    InvoiceLine.objects.bulk_create(
        InvoiceLine(invoice=invoice, position=position, **asdict(line)) for position, line in enumerate(made.lines, 1)
    )


def _earlier_totals(tenant: Tenant, month: date) -> list[int]:
    rows = Invoice.objects.filter(tenant=tenant, month__lt=month, kind=InvoiceKind.MONTH, number__isnull=False)
    return list(
        rows.exclude(state=InvoiceState.VOID).order_by("-month").values_list("total_minor", flat=True)[:_MEAN_OF]
    )
