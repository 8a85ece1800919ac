"""What an invoice or a credit note means for the ledger: lines summed by whom they concern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from billing.core.postings import Parts
from billing.models import CreditNote, Invoice, InvoiceLine, LineKind
from billing.services import ledger_events

_OF_PLANS = (LineKind.SUBSCRIPTION, LineKind.PRORATION)
# Tax that no jurisdiction is named for is kept apart all the same.
_NOWHERE = "none"


@dataclass(slots=True)
class _Sums:
    """Minor units: of each provider, the platform, plans, credit given (positive), and tax by jurisdiction."""

    shares: dict[UUID, int] = field(default_factory=dict)
    platform: int = 0
    subscription: int = 0
    credit: int = 0
    tax: dict[str, int] = field(default_factory=dict)

    def add(self, line: InvoiceLine, minor: int, provider_minor: int) -> None:
        """`minor` of a line, of which `provider_minor` are its provider's."""
        if line.kind in _OF_PLANS:
            self.subscription += minor
        elif line.kind == LineKind.CREDIT:
            self.credit -= minor
        elif line.kind == LineKind.TAX:
            self.add_tax(line.tax_jurisdiction, minor)
        else:
            self.platform += minor - provider_minor
            if line.provider_id is not None and provider_minor:
                self.shares[line.provider_id] = self.shares.get(line.provider_id, 0) + provider_minor

    def add_tax(self, jurisdiction: str, minor: int) -> None:
        if minor:
            name = jurisdiction or _NOWHERE
            self.tax[name] = self.tax.get(name, 0) + minor


def opened(invoice: Invoice) -> None:
    sums = _Sums()
    for line in invoice.lines.all():
        sums.add(line, line.minor, line.provider_minor)
    parts = Parts(invoice.tenant_id, sums.shares, sums.platform, sums.subscription, sums.credit, sums.tax)
    assert parts.total == invoice.total_minor, "the parts of an invoice are its total"
    ledger_events.invoice_opened(invoice, parts, at=invoice.opened_at)


def credited(note: CreditNote) -> None:
    sums = _Sums()
    for each in note.lines.select_related("line"):
        sums.add(each.line, each.minor, each.provider_minor)
    for jurisdiction in _jurisdictions(note.invoice.lines.filter(kind=LineKind.TAX)):
        sums.add_tax(jurisdiction, note.tax_minor)
    ledger_events.credit_noted(
        note.invoice,
        note_id=note.pk,
        shares=sums.shares,
        platform=sums.platform,
        subscription=sums.subscription,
        credit=sums.credit,
        tax=_positive(sums.tax),
    )


def _jurisdictions(lines: Iterable[InvoiceLine]) -> list[str]:
    """An invoice has one line of tax."""
    return [line.tax_jurisdiction for line in lines][:1]


def _positive(tax: Mapping[str, int]) -> dict[str, int]:
    return {name: minor for name, minor in tax.items() if minor > 0}
