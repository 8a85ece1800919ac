"""Draws a sheet as A4 pages by the rules of PDF/A-3: fonts are in the file, colours have a profile, nothing is fetched.

reportlab needs no library of the system, so that documents are the same wherever the product runs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import reportlab
from django.conf import settings
from PIL import ImageCms
from pypdf import PdfWriter
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    NumberObject,
    create_string_object,
)
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, KeepTogether, PageTemplate, Paragraph, Spacer, Table

from billing.documents.sheet import Item, Party, Sheet, amount, day, plain, price
from core.money import Money

REGULAR, BOLD = "Document", "Document-Bold"
INK, QUIET, LINE, TINT = HexColor("#16202b"), HexColor("#5a6673"), HexColor("#d5dbe1"), HexColor("#f3f5f7")
MARGIN = 20 * mm
WIDTH = A4[0] - 2 * MARGIN
FOOT = 27 * mm


@dataclass(frozen=True, slots=True)
class Label:
    """What stands on every page and in the properties of the file: `foot` is two lines about who issues it."""

    title: str
    number: str
    issuer: str
    foot: tuple[str, str]


def draw(sheet: Sheet) -> bytes:
    """The pages of a sheet."""
    return paged(_story(sheet), Label(sheet.title, sheet.number, sheet.seller.name, foot_of(sheet.seller)))


def foot_of(party: Party) -> tuple[str, str]:
    """Who and where, and how they are known and reached."""
    second = (party.tax_id and f"Tax id {party.tax_id}", party.email)
    return "  ·  ".join([party.name, *party.address]), "  ·  ".join(part for part in second if part)


def paged(story: Iterable[Any], label: Label) -> bytes:
    """A story on as many A4 pages as it takes."""
    _register_fonts()
    out = BytesIO()
    document = BaseDocTemplate(
        out,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=18 * mm,
        bottomMargin=FOOT,
        title=f"{label.title} {label.number}",
        author=label.issuer,
        lang="en",
    )
    frame = Frame(MARGIN, FOOT, WIDTH, A4[1] - 18 * mm - FOOT, 0, 0, 0, 0)
    document.addPageTemplates([PageTemplate(frames=[frame])])
    document.build(list(story), canvasmaker=_footed(label))
    return _with_colour_profile(out.getvalue())


def _story(sheet: Sheet) -> Iterator[Any]:
    yield _heading(sheet)
    yield Spacer(0, 9 * mm)
    yield _parties(sheet)
    yield Spacer(0, 8 * mm)
    yield _callout(sheet)
    yield Spacer(0, 7 * mm)
    yield _lines(sheet)
    yield Spacer(0, 4 * mm)
    yield KeepTogether([_totals(sheet), Spacer(0, 8 * mm), *_closing(sheet)])


def _heading(sheet: Sheet) -> Table:
    left = [text(sheet.seller.name, size=15, bold=True)]
    right = [text(sheet.title, size=20, bold=True, right=True), text(sheet.number, size=10, quiet=True, right=True)]
    return grid([[left, right]], [WIDTH * 0.5, WIDTH * 0.5])


def _parties(sheet: Sheet) -> Table:
    buyer = sheet.buyer
    left = [text("Billed to", size=8, quiet=True), text(buyer.name, size=10.5, bold=True)]
    left += [text(line) for line in buyer.address]
    if buyer.tax_id:
        left.append(text(f"Tax id {buyer.tax_id}"))
    facts = [("Number", sheet.number), ("Date", day(sheet.issued_at))]
    if sheet.due_at is not None:
        facts.append(("Due", day(sheet.due_at)))
    facts.append(("Service", f"{day(sheet.starts_at)} to {day(sheet.last_moment)}"))
    if sheet.reference:
        facts.append(("Your reference", sheet.reference))
    if sheet.corrects:
        facts.append(("Corrects invoice", sheet.corrects))
    rows = [[text(name, quiet=True), text(value)] for name, value in facts]
    return grid([[left, grid(rows, [WIDTH * 0.17, WIDTH * 0.35])]], [WIDTH * 0.48, WIDTH * 0.52])


def _callout(sheet: Sheet) -> Table:
    """What a reader looks for first."""
    if sheet.is_credit:
        words = f"We give back {amount(sheet.total)}"
    elif sheet.due.minor > 0 and sheet.due_at is not None:
        words = f"{amount(sheet.due)} due by {day(sheet.due_at)}"
    else:
        words = "Nothing is due"
    table = grid([[text(words, size=14, bold=True)]], [WIDTH])
    table.setStyle(
        [("BACKGROUND", (0, 0), (-1, -1), TINT), ("LEFTPADDING", (0, 0), (-1, -1), 10)]
        + [(side, (0, 0), (-1, -1), 9) for side in ("TOPPADDING", "BOTTOMPADDING")]
    )
    return table


def _lines(sheet: Sheet) -> Table:
    head = ["Description", "Quantity", "Price each", "Amount"]
    rows: list[list[Any]] = [[text(name, size=8, quiet=True, right=place > 0) for place, name in enumerate(head)]]
    style: list[tuple[Any, ...]] = [("LINEBELOW", (0, 0), (-1, 0), 0.8, INK)]
    for section, items in groupby(sheet.items, key=lambda item: item.section):
        rows += _section(section, list(items), style, len(rows))
    table = Table(rows, [WIDTH * 0.52, WIDTH * 0.15, WIDTH * 0.15, WIDTH * 0.18], repeatRows=1)
    table.setStyle([*TIGHT, *style])
    return table


def _section(section: str, items: Sequence[Item], style: list[tuple[Any, ...]], first: int) -> list[list[Any]]:
    """The lines of one provider under its name and their sum."""
    whole = Money(sum(item.amount.minor for item in items), items[0].amount.currency)
    style.append(("BACKGROUND", (0, first), (-1, first), TINT))
    style.append(("LINEBELOW", (0, first + 1), (-1, first + len(items)), 0.4, LINE))
    title = [text(section, bold=True), "", "", text(amount(whole), bold=True, right=True)]
    return [title, *(_line(item) for item in items)]


def _line(item: Item) -> list[Any]:
    words = [text(item.label)]
    if item.detail:
        words.append(text(item.detail, size=8, quiet=True))
    if not item.is_calls:
        return [words, "", "", text(amount(item.amount), right=True)]
    quantity, each = f"{plain(item.quantity)} calls", price(item.unit_price)
    return [words, text(quantity, right=True), text(each, right=True), text(amount(item.amount), right=True)]


def _totals(sheet: Sheet) -> Table:
    rows = [("Net", sheet.net, False), (sheet.tax.label, sheet.tax.amount, False), ("Total", sheet.total, True)]
    if sheet.prepaid.minor:
        rows += [("Paid from your credit", -sheet.prepaid, False), ("Amount due", sheet.due, True)]
    cells = [
        ["", text(name, bold=bold, quiet=not bold), text(amount(value), bold=bold, right=True)]
        for name, value, bold in rows
    ]
    table = grid(cells, [WIDTH * 0.42, WIDTH * 0.36, WIDTH * 0.22])
    table.setStyle(
        [("LINEABOVE", (1, place), (-1, place), 0.8, INK) for place, (_, _, bold) in enumerate(rows) if bold]
        + [("TOPPADDING", (0, 0), (-1, -1), 3), ("BOTTOMPADDING", (0, 0), (-1, -1), 3)]
    )
    return table


def _closing(sheet: Sheet) -> list[Any]:
    words = []
    if sheet.note:
        words.append(text(f"Reason: {sheet.note}"))
    if sheet.where:
        words.append(text("Every line opens to the calls that it is made of:", size=8, quiet=True))
        words.append(text(sheet.where, size=8))
    return words


def _footed(label: Label) -> type[Canvas]:
    """A canvas that writes the issuer and "page n of m" beneath each page, once it is known how many there are."""
    first, second = label.foot

    class Footed(Canvas):  # type: ignore[misc]  # reportlab has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Else a font that is not in the file is named on each page.
            super().__init__(*args, **kwargs | {"initialFontName": REGULAR})
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, 1):
                self.__dict__.update(page)
                self._foot(number)
                super().showPage()
            super().save()

        def _foot(self, number: int) -> None:
            self.setStrokeColor(LINE)
            self.line(MARGIN, 20 * mm, A4[0] - MARGIN, 20 * mm)
            self.setFont(REGULAR, 7.5)
            self.setFillColor(QUIET)
            self.drawString(MARGIN, 15.5 * mm, writable(first)[:110])
            self.drawString(MARGIN, 11.5 * mm, writable(second)[:110])
            self.drawRightString(A4[0] - MARGIN, 11.5 * mm, f"{label.number}, page {number} of {len(self._pages)}")

    return Footed


TIGHT = [
    # Empty cells are texts too, and name a font that is not in the file if they are not told.
    ("FONTNAME", (0, 0), (-1, -1), REGULAR),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 4),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 4),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
]


def grid(rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Table:
    table = Table(rows, widths)
    table.setStyle(
        [("VALIGN", (0, 0), (-1, -1), "TOP"), ("FONTNAME", (0, 0), (-1, -1), REGULAR)]
        + [(side, (0, 0), (-1, -1), 0) for side in ("LEFTPADDING", "RIGHTPADDING")]
        + [(side, (0, 0), (-1, -1), 1) for side in ("TOPPADDING", "BOTTOMPADDING")]
    )
    return table


def text(words: str, *, size: float = 9, bold: bool = False, quiet: bool = False, right: bool = False) -> Paragraph:
    style = ParagraphStyle(
        "document",
        fontName=BOLD if bold else REGULAR,
        fontSize=size,
        leading=size * 1.35,
        textColor=QUIET if quiet else INK,
        alignment=TA_RIGHT if right else 0,
        splitLongWords=1,
    )
    return Paragraph(escape(writable(words)), style)


def writable(words: str) -> str:
    """The text in letters that the font has: without their marks where need be, and "?" for what it cannot write at all."""
    known = _glyphs()
    if all(ord(letter) in known for letter in words):
        return words
    return "".join(letter if ord(letter) in known else _plainer(letter, known) for letter in words)


def _plainer(letter: str, known: frozenset[int]) -> str:
    base = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    return base if base and all(ord(part) in known for part in base) else "?"


@cache
def _glyphs() -> frozenset[int]:
    _register_fonts()
    return frozenset(pdfmetrics.getFont(REGULAR).face.charToGlyph) & frozenset(
        pdfmetrics.getFont(BOLD).face.charToGlyph
    )


@cache
def _register_fonts() -> None:
    fonts = settings.BILLING_FONTS or [
        str(Path(reportlab.__file__).parent / "fonts" / name) for name in ("Vera.ttf", "VeraBd.ttf")
    ]
    for name, file in zip((REGULAR, BOLD), fonts, strict=True):
        pdfmetrics.registerFont(TTFont(name, file))


def _with_colour_profile(pages: bytes) -> bytes:
    """PDF/A asks what its colours mean: they are sRGB."""
    writer = PdfWriter(clone_from=BytesIO(pages))
    profile = DecodedStreamObject()
    profile.set_data(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[NameObject("/N")] = NumberObject(3)
    intent = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/OutputIntent"),
            NameObject("/S"): NameObject("/GTS_PDFA1"),
            NameObject("/OutputConditionIdentifier"): create_string_object("sRGB"),
            NameObject("/DestOutputProfile"): writer._add_object(profile),
        }
    )
    writer._root_object[NameObject("/OutputIntents")] = ArrayObject([writer._add_object(intent)])
    out = BytesIO()
    writer.write(out)
    return out.getvalue()
