"""Draws the self-billed statement of a payout: what the platform, which buys the calls, bills itself in the provider's name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reportlab.lib.units import mm
from reportlab.platypus import Spacer, Table

from billing.documents import pdf
from billing.documents.pdf import WIDTH, grid, text
from billing.documents.sheet import amount, day, party
from billing.models import Statement
from billing.selectors.earnings import summary
from billing.services import profiles
from core.money import Money

TITLE = "Self-billed statement"
_OBJECT = (
    "Object within 3 days by telling an operator of the platform; what was wrong is put right by the next statement."
)
_MEANING = (
    "Self-billing: issued by the recipient of the supply, in the name of the supplier. A reference stands for one invoice of one "
    "customer."
)


def draw(statement: Statement) -> bytes:
    """Its pages. The platform is named as it is at this moment, the supplier as the statement keeps it."""
    issuer = party(profiles.seller())
    label = pdf.Label(TITLE, statement.number, issuer.name, pdf.foot_of(issuer))
    return pdf.paged(_story(statement, issuer.name), label)


def _story(statement: Statement, issuer: str) -> Iterator[Any]:
    heading = [text(TITLE, size=18, bold=True, right=True), text(statement.number, size=10, quiet=True, right=True)]
    yield grid([[[text(issuer, size=15, bold=True)], heading]], [WIDTH * 0.4, WIDTH * 0.6])
    yield Spacer(0, 9 * mm)
    yield _parties(statement, issuer)
    yield Spacer(0, 8 * mm)
    yield _summary(statement)
    yield Spacer(0, 7 * mm)
    yield _lines(statement)
    yield Spacer(0, 7 * mm)
    yield text(_MEANING, size=8, quiet=True)
    yield text(_OBJECT, size=8, quiet=True)


def _parties(statement: Statement, issuer: str) -> Table:
    payee = statement.payee
    left = [text("Supplier", size=8, quiet=True), text(str(payee.get("name", "")), size=10.5, bold=True)]
    left += [
        text(line) for line in [*str(payee.get("address", "")).splitlines(), str(payee.get("country", ""))] if line
    ]
    if payee.get("tax_id"):
        left.append(text(f"Tax number {payee['tax_id']}"))
    batch = statement.item.batch
    facts = [
        ("Number", statement.number),
        ("Date", day(statement.made_at)),
        ("Issued by", issuer),
        ("Payout", f"{batch.get_rail_display()}, {batch.month}"),
        ("Paid to", statement.item.destination),
    ]
    right = grid([[text(name, quiet=True), text(value)] for name, value in facts], [WIDTH * 0.13, WIDTH * 0.39])
    return grid([[left, right]], [WIDTH * 0.48, WIDTH * 0.52])


def _summary(statement: Statement) -> Table:
    found = summary(statement)
    cells = [
        [text(label, bold=label == "This payout"), text(amount(money), bold=label == "This payout", right=True)]
        for label, money in found
    ]
    table = grid(cells, [WIDTH * 0.7, WIDTH * 0.3])
    table.setStyle(
        [("LINEBELOW", (0, 0), (-1, -2), 0.4, pdf.LINE), ("LINEABOVE", (0, -1), (-1, -1), 0.8, pdf.INK)]
        + [(side, (0, 0), (-1, -1), 4) for side in ("TOPPADDING", "BOTTOMPADDING")]
    )
    return table


def _lines(statement: Statement) -> Table:
    head = ["What", "Date", "Month of the calls", "Reference", "Amount"]
    cells: list[list[Any]] = [
        [text(name, size=8, quiet=True, right=place == len(head) - 1) for place, name in enumerate(head)]
    ]
    for line in statement.lines:
        words = [text(str(line[name]) or "-") for name in ("what", "on", "month", "reference")]
        cells.append([*words, text(amount(Money(line["minor"], statement.currency)), right=True)])
    table = Table(cells, [WIDTH * part for part in (0.36, 0.14, 0.17, 0.15, 0.18)], repeatRows=1)
    table.setStyle(
        [*pdf.TIGHT, ("LINEBELOW", (0, 0), (-1, 0), 0.8, pdf.INK), ("LINEBELOW", (0, 1), (-1, -1), 0.4, pdf.LINE)]
    )
    return table
