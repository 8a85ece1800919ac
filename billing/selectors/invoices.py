"""Reading invoices: an organisation's own, and for operators those of all. Drafts show to operators alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from uuid import UUID

from django.db.models import QuerySet

from billing.core.composing import Line
from billing.core.wording import words
from billing.models import (
    BillingProfile,
    CreditNote,
    Document,
    Invoice,
    InvoiceLine,
    InvoiceState,
    LineKind,
    PriceVersion,
)
from calls.selectors.billed import BilledLine
from core.errors import NotFoundError
from core.money import Money
from tenants.models import Tenant

_CALLS = (LineKind.USAGE, LineKind.LATE)
PLAN = "Plan and adjustments"


@dataclass(frozen=True, slots=True)
class Section:
    """The lines of one provider, or those of the plan, and their sum."""

    name: str
    lines: list[InvoiceLine | Line]
    total: Money


def of_tenant(tenant: Tenant) -> QuerySet[Invoice]:
    """The invoices that an organisation was sent, newest first."""
    return Invoice.objects.filter(tenant=tenant, number__isnull=False)


def find(tenant: Tenant, invoice_id: UUID) -> Invoice:
    """Raises NotFoundError for a draft and for what is another organisation's."""
    found = of_tenant(tenant).filter(pk=invoice_id).first()
    if found is None:
        raise NotFoundError("There is no such invoice.", next_step="See the list of invoices.")
    return found


def find_line(invoice: Invoice, line_id: UUID) -> InvoiceLine:
    """A line of usage. Raises NotFoundError for any other."""
    found = invoice.lines.filter(pk=line_id, kind__in=_CALLS).first()
    if found is None:
        raise NotFoundError("There is no such line of usage.", next_step="See the invoice.")
    return found


def find_note(tenant: Tenant, note_id: UUID) -> CreditNote:
    found = CreditNote.objects.select_related("invoice").filter(tenant=tenant, pk=note_id).first()
    if found is None:
        raise NotFoundError("There is no such credit note.", next_step="See the list of invoices.")
    return found


def document(invoice: Invoice) -> Document | None:
    return Document.objects.filter(invoice=invoice).first()


def profile(tenant: Tenant) -> BillingProfile:
    """The stored profile, or an empty one."""
    return BillingProfile.objects.filter(tenant=tenant).first() or BillingProfile(tenant=tenant)


def sections(lines: Iterable[InvoiceLine] | Iterable[Line], currency: str) -> list[Section]:
    """Lines but tax as a reader goes through them; they come in the order of the invoice."""
    shown = [line for line in lines if line.kind != LineKind.TAX]
    found = []
    for name, group in groupby(shown, key=_section_of):
        own = list(group)
        found.append(Section(name, own, Money(sum(line.minor for line in own), currency)))
    return found


def price_in_words(line: InvoiceLine) -> str:
    """What the calls of a line cost, as pages say it; empty for a line that has no price."""
    price = PriceVersion.objects.filter(pk=line.price_version_id).first() if line.price_version_id else None
    return words(price.terms, price.currency) if price is not None else ""


def billed(line: InvoiceLine, period_id: int | None) -> BilledLine | None:
    """How the calls of a line are found; None for one that no calls are known of."""
    if period_id is None or line.server_id is None or line.price_version_id is None or line.origin_month is None:
        return None
    return BilledLine(period_id, line.server_id, line.tool, line.provider_id, line.price_version_id, line.origin_month)


def of_month(month: date) -> QuerySet[Invoice]:
    """For operators: every organisation's invoice of a month, those that need eyes first."""
    rows = Invoice.objects.select_related("tenant").filter(month=month).exclude(state=InvoiceState.VOID)
    return rows.order_by("tenant__name")


def drafts() -> QuerySet[Invoice]:
    """For operators: what waits to be opened."""
    return Invoice.objects.select_related("tenant").filter(state=InvoiceState.DRAFT).order_by("month", "tenant__name")


def past_due(moment: object) -> QuerySet[Invoice]:
    rows = Invoice.objects.select_related("tenant").filter(state=InvoiceState.OPEN, due_at__lt=moment)
    return rows.order_by("due_at")


def _section_of(line: InvoiceLine | Line) -> str:
    return (line.provider_name or "Platform") if line.kind in _CALLS else PLAN
