"""Writes a sheet as Factur-X (EN 16931), so that the customer's bookkeeping reads it by itself, and puts it into the PDF.

The library checks the XML against the official schema and refuses what is not valid.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from drafthorse.models.accounting import ApplicableTradeTax
from drafthorse.models.document import Document
from drafthorse.models.note import IncludedNote
from drafthorse.models.party import TaxRegistration, TradeParty
from drafthorse.models.payment import PaymentTerms
from drafthorse.models.trade import TradeSettlement
from drafthorse.models.tradelines import LineItem
from drafthorse.pdf import attach_xml

from billing.documents.sheet import Item, Party, Sheet, Tax

PROFILE = "urn:cen.eu:en16931:2017"
INVOICE, CREDIT_NOTE = "380", "381"
_PIECE = "C62"  # UN/ECE Recommendation 20
_EXEMPT = {
    "AE": ("Reverse charge", "VATEX-EU-AE"),
    "G": ("Export outside the scope of the rates", "VATEX-EU-G"),
    "O": ("Not subject to tax", "VATEX-EU-O"),
}


def write(sheet: Sheet) -> bytes:
    """The XML. Raises AssertionError when it is not valid."""
    document = Document()
    document.context.guideline_parameter.id = PROFILE
    document.header.id = sheet.number
    document.header.type_code = CREDIT_NOTE if sheet.is_credit else INVOICE
    document.header.issue_date_time = sheet.issued_at.date()
    if sheet.note:
        note = IncludedNote()
        note.content = sheet.note
        document.header.notes.add(note)
    agreement, trade = document.trade.agreement, document.trade
    if sheet.reference:
        agreement.buyer_reference = sheet.reference
    _party(agreement.seller, sheet.seller)
    _party(agreement.buyer, sheet.buyer)
    for place, item in enumerate(sheet.items, 1):
        trade.items.add(_line(place, item, sheet.tax))
    trade.delivery.event.occurrence = sheet.last_moment.date()
    _settle(trade.settlement, sheet)
    return document.serialize(schema="FACTUR-X_EN16931")


def embed(pages: bytes, xml: bytes, sheet: Sheet) -> bytes:
    """The PDF with the XML in it."""
    words = {
        "author": sheet.seller.name,
        "title": f"{sheet.title} {sheet.number}",
        "subject": f"{sheet.title} {sheet.number} of {sheet.issued_at:%Y-%m-%d}",
        "creator": "MCP Marketplace",
    }
    return attach_xml(pages, xml, metadata=words, lang="en")


def _party(target: TradeParty, party: Party) -> None:
    target.name = party.name
    address = target.address
    address.postcode, address.line_one, address.line_two = party.postal_code, party.street, party.street_more
    address.city_name, address.country_id = party.city, party.country or "ZZ"
    if party.region:
        address.country_subdivision = party.region
    if party.tax_id:
        target.tax_registrations.add(TaxRegistration(id=("VA", party.tax_id)))


def _line(place: int, item: Item, tax: Tax) -> LineItem:
    line = LineItem()
    line.document.line_id = str(place)
    line.product.name = item.label
    # A price is never below zero: what lowers an invoice is a negative quantity of it.
    quantity = -abs(item.quantity) if item.amount.minor < 0 else abs(item.quantity)
    line.agreement.net.amount = item.unit_price
    line.agreement.net.basis_quantity = (Decimal(1), _PIECE)
    line.delivery.billed_quantity = (quantity, _PIECE)
    line.settlement.trade_tax.type_code = "VAT"
    line.settlement.trade_tax.category_code = tax.category
    if tax.category != "O":
        line.settlement.trade_tax.rate_applicable_percent = tax.percent
    line.settlement.period.start = item.starts_at.date()
    line.settlement.period.end = (item.ends_at - timedelta(microseconds=1)).date()
    line.settlement.monetary_summation.total_amount = item.amount.major
    return line


def _settle(settlement: TradeSettlement, sheet: Sheet) -> None:
    settlement.currency_code = sheet.total.currency
    settlement.trade_tax.add(_tax(sheet.tax))
    settlement.period.start, settlement.period.end = sheet.starts_at.date(), sheet.last_moment.date()
    if sheet.due_at is not None:
        terms = PaymentTerms()
        terms.due = sheet.due_at.date()
        settlement.terms.add(terms)
    if sheet.corrects:
        settlement.invoice_referenced_document.issuer_assigned_id = sheet.corrects
    sums, currency = settlement.monetary_summation, sheet.total.currency
    sums.line_total = sheet.net.major
    sums.charge_total = sums.allowance_total = Decimal(0)
    sums.tax_basis_total = sheet.net.major
    sums.tax_total = (sheet.tax.amount.major, currency)
    sums.grand_total = sheet.total.major
    sums.prepaid_total = sheet.prepaid.major
    sums.due_amount = sheet.due.major


def _tax(tax: Tax) -> ApplicableTradeTax:
    found = ApplicableTradeTax()
    found.calculated_amount, found.basis_amount = tax.amount.major, tax.base.major
    found.type_code, found.category_code = "VAT", tax.category
    if tax.category in _EXEMPT:
        found.exemption_reason, found.exemption_reason_code = _EXEMPT[tax.category]
    if tax.category != "O":
        found.rate_applicable_percent = tax.percent
    return found
