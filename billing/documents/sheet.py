"""What an invoice or a credit note says, ready to be drawn or written for programs: both forms come from one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.conf import settings

from billing.models import CreditNote, Invoice, InvoiceLine, LineKind, SettlementSource
from core.money import Money

_CALLS = (LineKind.USAGE, LineKind.LATE)


@dataclass(frozen=True, slots=True)
class Party:
    name: str
    street: str
    street_more: str
    postal_code: str
    city: str
    region: str
    country: str
    tax_id: str
    email: str

    @property
    def address(self) -> list[str]:
        """As on an envelope, without what is not known."""
        city = " ".join(part for part in (self.postal_code, self.city) if part)
        return [part for part in (self.street, self.street_more, city, self.region, self.country) if part]


@dataclass(frozen=True, slots=True)
class Item:
    """A line: in which section it stands, what it is, how much of it, and what that comes to."""

    section: str
    label: str
    detail: str
    quantity: Decimal
    is_calls: bool
    amount: Money
    starts_at: datetime
    ends_at: datetime

    @property
    def unit_price(self) -> Decimal:
        """What one costs on average, in major units, to six places; never below zero."""
        units = abs(self.quantity) or Decimal(1)
        return (abs(self.amount.major) / units).quantize(Decimal("0.000001"))


@dataclass(frozen=True, slots=True)
class Tax:
    label: str
    category: str
    ppm: int
    base: Money
    amount: Money

    @property
    def percent(self) -> Decimal:
        return Decimal(self.ppm) / 10_000


@dataclass(frozen=True, slots=True)
class Sheet:
    """One document. `prepaid` is what was paid from the customer's credit when it was issued."""

    title: str
    number: str
    issued_at: datetime
    due_at: datetime | None
    starts_at: datetime
    ends_at: datetime
    seller: Party
    buyer: Party
    reference: str
    items: tuple[Item, ...]
    net: Money
    tax: Tax
    total: Money
    prepaid: Money
    corrects: str = ""
    note: str = ""
    where: str = ""

    @property
    def last_moment(self) -> datetime:
        """Within the last day of service: spans are half open."""
        return self.ends_at - timedelta(microseconds=1)

    @property
    def is_credit(self) -> bool:
        return bool(self.corrects)

    @property
    def due(self) -> Money:
        return self.total - self.prepaid


def of_invoice(invoice: Invoice) -> Sheet:
    """Raises ValueError for a draft, which is no document."""
    if invoice.number is None or invoice.opened_at is None:
        raise ValueError("a draft has no document")
    lines = list(invoice.lines.all())
    prepaid = invoice.settlements.filter(source=SettlementSource.CREDIT).values_list("minor", flat=True)
    return Sheet(
        title="Invoice",
        number=invoice.number,
        issued_at=invoice.opened_at,
        due_at=invoice.due_at,
        starts_at=min(line.starts_at for line in lines),
        ends_at=max(line.ends_at for line in lines),
        seller=party(invoice.seller),
        buyer=party(invoice.buyer),
        reference=str(invoice.buyer.get("reference", "")),
        items=tuple(_item(line, line.minor) for line in lines if line.kind != LineKind.TAX),
        net=invoice.net,
        tax=_tax(lines, invoice.net_minor, invoice.tax_minor, invoice.currency),
        total=invoice.total,
        prepaid=Money(sum(prepaid), invoice.currency),
        where=_where(invoice),
    )


def of_note(note: CreditNote) -> Sheet:
    invoice = note.invoice
    credited = list(note.lines.select_related("line"))
    of_tax = list(invoice.lines.filter(kind=LineKind.TAX))
    return Sheet(
        title="Credit note",
        number=note.number,
        issued_at=note.issued_at,
        due_at=None,
        starts_at=min(each.line.starts_at for each in credited),
        ends_at=max(each.line.ends_at for each in credited),
        seller=party(invoice.seller),
        buyer=party(invoice.buyer),
        reference=str(invoice.buyer.get("reference", "")),
        items=tuple(_item(each.line, each.minor) for each in credited),
        net=Money(note.net_minor, note.currency),
        tax=_tax(of_tax, note.net_minor, note.tax_minor, note.currency),
        total=note.total,
        prepaid=Money(0, note.currency),
        corrects=str(invoice.number),
        note=note.reason,
        where=_where(invoice),
    )


def _item(line: InvoiceLine, minor: int) -> Item:
    """A line, or the part of it that a note takes back: then its quantity is one piece."""
    is_calls = line.kind in _CALLS and minor == line.minor
    return Item(
        section=line.provider_name if line.kind in _CALLS else "Plan and adjustments",
        label=line.label,
        detail=_detail(line) if is_calls else "",
        quantity=line.quantity if is_calls and line.quantity > 0 else Decimal(1 if minor >= 0 else -1),
        is_calls=is_calls,
        amount=Money(minor, line.currency),
        starts_at=line.starts_at,
        ends_at=line.ends_at,
    )


def _detail(line: InvoiceLine) -> str:
    return f"{plain(line.free_quantity)} of them free" if line.free_quantity else ""


def _tax(lines: Sequence[InvoiceLine], base_minor: int, minor: int, currency: str) -> Tax:
    of_tax = next((line for line in lines if line.kind == LineKind.TAX), None)
    base, amount = Money(base_minor, currency), Money(minor, currency)
    if of_tax is None:
        return Tax("No tax", "O", 0, base, amount)
    return Tax(of_tax.label, of_tax.tax_category, of_tax.tax_ppm or 0, base, amount)


def party(data: Mapping[str, object]) -> Party:
    """Who is named by what a document keeps of them."""

    def text(name: str) -> str:
        return str(data.get(name) or "")

    emails = data.get("emails")
    email = str(emails[0]) if isinstance(emails, list) and emails else text("email")
    names = ("street", "street_more", "postal_code", "city", "region", "country", "tax_id")
    return Party(name=text("legal_name") or text("name"), email=email, **{name: text(name) for name in names})


def _where(invoice: Invoice) -> str:
    return f"{settings.PUBLIC_URL}/o/{invoice.buyer.get('organisation', '')}/billing/invoices/{invoice.pk}/"


def price(number: Decimal) -> str:
    """As many places as it takes, two at least."""
    text = plain(number)
    places = len(text.partition(".")[2])
    return f"{number:,.{max(places, 2)}f}"


def plain(number: Decimal) -> str:
    """1234.500000 as "1,234.5"."""
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def day(moment: datetime) -> str:
    """2 November 2026."""
    return f"{moment.astimezone(UTC):%d %B %Y}".lstrip("0")


def amount(money: Money) -> str:
    return f"{money.major:,} {money.currency}"
