"""The document of an invoice: what it says, that programs read it, that it is made once and mailed once."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from io import BytesIO

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from drafthorse.models.document import Document as EInvoice
from pypdf import PdfReader

from audit.services import SYSTEM
from billing.documents import einvoice, pdf, sheet
from billing.models import Document
from billing.services import credits as crediting
from billing.services import documents, invoices, profiles
from core.money import Money
from tenants.context import platform_scope
from tests.support.invoices import draft, plan, usage

ADDRESS = {
    "legal_name": "Acme Sp. z o.o.",
    "street": "Main Street 5",
    "postal_code": "00-001",
    "city": "Warszawa",
    "country": "pl",
    "tax_id": "pl 1234567890",
    "emails": "ap@acme.example, cfo@acme.example",
    "reference": "PO 4711",
}
SELLER = {"name": "Seller GmbH", "street": "Allee 1", "city": "Berlin", "country": "DE", "tax_id": "DE123456789"}


@pytest.fixture
def invoice(cast, settings):
    settings.BILLING_TAX_RATES = ["PL=23"]
    settings.BILLING_SELLER = settings.BILLING_SELLER | SELLER
    with platform_scope():
        profiles.change(tenant=cast.acme, values=ADDRESS, actor=SYSTEM)
        lines = [
            usage(cast.payments.provider_id, 24_690),
            usage(cast.payments.provider_id, 0, tool="free"),
            plan(2_900),
            plan(-1_000, kind="credit", key="included", label="Usage included in the plan"),
        ]
        yield invoices.open(draft(cast.acme, lines))


def owed(invoice) -> Decimal:
    """What is left when credit that the organisation has already is used, in major units."""
    return Money(invoice.owed_minor, invoice.currency).major


def text_of(content: bytes) -> str:
    return " ".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)


def xml_of(content: bytes) -> EInvoice:
    [data] = PdfReader(BytesIO(content)).attachments["factur-x.xml"]
    return EInvoice.parse(data)


def test_the_pages_say_who_owes_what_for_what(invoice):
    text = text_of(documents.of_invoice(invoice).content)

    for words in (invoice.number, "Acme Sp. z o.o.", "Seller GmbH", "PO 4711", "Payments: list_invoices", "246.90 USD"):
        assert words in text
    assert f"{owed(invoice):,} USD due by" in text
    assert "Tax PL 23 %" in text


def test_programs_read_the_same_from_it(invoice):
    read = xml_of(documents.of_invoice(invoice).content)

    sums = read.trade.settlement.monetary_summation
    assert str(read.header.id) == invoice.number
    assert sums.line_total._value == invoice.net.major
    assert sums.due_amount._value == owed(invoice)
    assert len(read.trade.items.children) == 4
    assert str(read.trade.agreement.buyer.name) == "Acme Sp. z o.o."


def test_fonts_are_in_the_file_and_colours_have_a_profile(invoice):
    reader = PdfReader(BytesIO(documents.of_invoice(invoice).content))

    root = reader.trailer["/Root"]
    assert root["/OutputIntents"][0].get_object()["/DestOutputProfile"].get_object().get_data()[36:40] == b"acsp"
    assert b"pdfaid:part" in root["/Metadata"].get_object().get_data()
    for page in reader.pages:
        fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]
        assert [font["/BaseFont"] for font in fonts if "/FontDescriptor" not in font] == []
        assert all("/FontFile2" in font["/FontDescriptor"].get_object() for font in fonts)


def test_it_is_made_once_and_kept_with_its_digest(invoice):
    first = documents.of_invoice(invoice)

    assert documents.of_invoice(invoice).pk == first.pk
    assert hashlib.sha256(bytes(first.content)).hexdigest() == first.sha256
    with pytest.raises(IntegrityError), transaction.atomic():
        Document.objects.filter(pk=first.pk).update(sha256="0" * 64)


def test_it_is_mailed_once_to_whom_the_profile_names(invoice):
    assert documents.mail(invoice.pk)
    assert not documents.mail(invoice.pk)

    [message] = mail.outbox
    assert message.to == ["ap@acme.example", "cfo@acme.example"]
    [(name, content, _)] = message.attachments
    assert name == f"{invoice.number}.pdf"
    assert content == bytes(documents.of_invoice(invoice).content)


def test_without_addresses_it_goes_to_those_who_may_see_bills(cast):
    with platform_scope():
        invoice = invoices.open(draft(cast.acme, [usage(cast.payments.provider_id, 100)]))
        documents.mail(invoice.pk)

    assert mail.outbox[0].to == [cast.alice.email]


def test_a_credit_note_names_what_it_corrects(invoice):
    with platform_scope():
        lines = [crediting.LineCredit(invoice.lines.get(tool="list_invoices").pk, 100)]
        note = crediting.issue(invoice, lines, reason="Outage <b>", key="k", actor=SYSTEM)
        content = documents.of_note(note).content

    assert "Outage <b>" in text_of(content)
    read = xml_of(content)
    assert (str(read.header.type_code), str(read.header.id)) == ("381", note.number)


def test_an_invoice_of_a_buyer_and_seller_who_are_known_by_name_alone_is_valid(cast):
    with platform_scope():
        invoice = invoices.open(draft(cast.acme, [usage(cast.payments.provider_id, 1)]))

        assert b"CrossIndustryInvoice" in einvoice.write(sheet.of_invoice(invoice))


@pytest.mark.parametrize(
    ("words", "written"), [("Łódź & <b>", None), ("Ω-Lab 東京", None), ("plain", "plain"), ("naïve", "naïve")]
)
def test_names_that_the_font_cannot_write_do_not_break_a_page(words, written):
    found = pdf.writable(words)

    assert found == (written or found)
    assert len(found) >= len(words)


def test_a_draft_has_no_document(cast):
    with platform_scope(), pytest.raises(ValueError, match="draft"):
        sheet.of_invoice(draft(cast.acme, [usage(cast.payments.provider_id, 1)]))
