"""From rated usage and charges of plans to the lines of an invoice. Pure: the same input gives the same invoice, at any time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from billing.core.tax import Sale, TaxEngine
from core.money import Money, exponent

LINES_MAX = 200
GROWTH_MAX = 10
TAX_KEY = "tax"
# The order in which an invoice is read: what was used, then the plan, then what lowers it, then tax.
_ORDER = {"usage": 0, "late": 0, "subscription": 2, "proration": 3, "adjustment": 4, "credit": 5, "tax": 6}


@dataclass(frozen=True, slots=True)
class Line:
    """A line before it is stored; the fields are those of `billing.models.InvoiceLine`."""

    kind: str
    key: str
    label: str
    starts_at: datetime
    ends_at: datetime
    minor: int
    currency: str
    exact: Decimal
    quantity: Decimal = Decimal(1)
    free_quantity: Decimal = Decimal(0)
    server_id: UUID | None = None
    server_name: str = ""
    tool: str = ""
    provider_id: UUID | None = None
    provider_name: str = ""
    price_version_id: UUID | None = None
    plan_version_id: UUID | None = None
    agreement_id: UUID | None = None
    origin_month: date | None = None
    share_bps: int | None = None
    provider_minor: int = 0
    platform_minor: int = 0
    tax_category: str = ""
    tax_jurisdiction: str = ""
    tax_ppm: int | None = None
    tax_base_minor: int | None = None

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)

    @property
    def exact_text(self) -> str:
        """The exact amount without zeros that say nothing."""
        return f"{self.exact.normalize():f}"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why an invoice waits for an operator's eyes."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Composition:
    """An invoice before it is stored: its lines in order, tax last, and the sums of them in minor units."""

    currency: str
    lines: tuple[Line, ...]
    warnings: tuple[Doubt, ...]

    @property
    def net_minor(self) -> int:
        return sum(line.minor for line in self.lines if line.kind != "tax")

    @property
    def tax_minor(self) -> int:
        return sum(line.minor for line in self.lines if line.kind == "tax")

    @property
    def total_minor(self) -> int:
        return self.net_minor + self.tax_minor


def compose(
    lines: Iterable[Line],
    *,
    currency: str,
    engine: TaxEngine,
    seller_country: str,
    buyer_country: str,
    buyer_tax_id: str,
    earlier_totals: Sequence[int],
) -> Composition:
    """Put lines in order and add tax. `earlier_totals` are those of the invoices before, the newest first.

    Raises ValueError when a line has another currency or a key comes twice: either would bill wrongly, so nothing is billed.
    """
    ordered = sorted(lines, key=_place)
    _refuse_mixtures(ordered, currency)
    net = sum(line.minor for line in ordered)
    if ordered:
        tax = engine.assess(Sale(seller_country, buyer_country, buyer_tax_id, net))
        last = max(ordered, key=lambda line: line.ends_at)
        ordered.append(
            replace(
                Line("tax", TAX_KEY, tax.label, last.starts_at, last.ends_at, tax.minor, currency, Decimal(0)),
                exact=Decimal(tax.minor).scaleb(-exponent(currency)),
                tax_category=tax.category,
                tax_jurisdiction=tax.jurisdiction,
                tax_ppm=tax.rate_ppm,
                tax_base_minor=tax.base_minor,
            )
        )
    made = Composition(currency, tuple(ordered), ())
    return replace(made, warnings=tuple(_doubts(made, earlier_totals)))


def _place(line: Line) -> tuple[int, str, str, str, str]:
    """A provider's lines stand together, late ones among them."""
    return _ORDER[line.kind], line.provider_name, line.server_name, line.tool, line.key


def _refuse_mixtures(lines: Sequence[Line], currency: str) -> None:
    keys = [line.key for line in lines]
    if len(set(keys)) != len(keys):
        raise ValueError("two lines have the same key")
    if strange := {line.currency for line in lines} - {currency}:
        raise ValueError(f"lines in {', '.join(sorted(strange))} on an invoice in {currency}")


def _doubts(made: Composition, earlier_totals: Sequence[int]) -> Iterable[Doubt]:
    """What an invoice that a fault made would look like."""
    if len(made.lines) > LINES_MAX:
        yield Doubt("many_lines", f"It has {len(made.lines)} lines; up to {LINES_MAX} are usual.")
    mean = sum(earlier_totals) / len(earlier_totals) if earlier_totals else 0
    if mean > 0 and made.total_minor > GROWTH_MAX * mean:
        yield Doubt("sudden_growth", f"Its total is more than {GROWTH_MAX} times the mean of the months before.")
    if made.total_minor < 0:
        yield Doubt("negative", "Its total is below zero.")
