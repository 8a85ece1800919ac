"""The document of an invoice, credit note or statement: rendered once, kept with its digest, mailed once.

Rendering and mailing are jobs of their own: what fails is found again by the sweep, and what is there is never made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from smtplib import SMTPException
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string

from billing.models import CreditNote, Document, Invoice, Statement
from core import clock
from core.errors import UnavailableError
from tenants.choices import Right
from tenants.selectors.people import holders

PDF = "application/pdf"
_MAIL_WITHIN = timedelta(days=7)
_BATCH = 100


def of_invoice(invoice: Invoice) -> Document:
    """The stored document, made when it is not there yet."""
    found = Document.objects.filter(invoice=invoice).first()
    return found or _keep(lambda: _render(invoice), tenant_id=invoice.tenant_id, invoice=invoice)


def of_note(note: CreditNote) -> Document:
    found = Document.objects.filter(note=note).first()
    return found or _keep(lambda: _render(note), tenant_id=note.tenant_id, note=note)


def of_statement(statement: Statement) -> Document:
    found = Document.objects.filter(statement=statement).first()
    tenant_id = statement.provider.tenant_id
    return found or _keep(lambda: _render_statement(statement), tenant_id=tenant_id, statement=statement)


def mail(invoice_id: UUID) -> bool:
    """Send an invoice to whom the billing profile names, else to those who may see bills. Whether it was sent now.

    Raises UnavailableError when the mail server does not take it; it may be tried again.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update(skip_locked=True, of=("self",)).select_related("tenant")
        found = invoice.filter(pk=invoice_id, mailed_at=None, number__isnull=False).first()
        if found is None:
            return False
        to = _addresses(found)
        if to:
            _send(found, of_invoice(found), to)
        Invoice.objects.filter(pk=found.pk).update(mailed_at=clock.now())
    return bool(to)


def waiting() -> list[UUID]:
    """Invoices whose document was not mailed, of the last days."""
    rows = Invoice.objects.filter(mailed_at=None, number__isnull=False, opened_at__gte=clock.now() - _MAIL_WITHIN)
    return list(rows.order_by("opened_at").values_list("pk", flat=True)[:_BATCH])


def _keep(render: Callable[[], bytes], **what: Any) -> Document:
    """Two at once make the same; the first one stays."""
    content = render()
    same = {name: value for name, value in what.items() if name in ("invoice", "note", "statement")}
    document, _ = Document.objects.get_or_create(
        **same,
        defaults=what | {"media_type": PDF, "sha256": hashlib.sha256(content).hexdigest(), "content": content},
    )
    return document


def _render(what: Invoice | CreditNote) -> bytes:
    # Only who makes documents loads the libraries for it.
    from billing.documents import einvoice, pdf, sheet  # noqa: PLC0415

    made = sheet.of_invoice(what) if isinstance(what, Invoice) else sheet.of_note(what)
    return einvoice.embed(pdf.draw(made), einvoice.write(made), made)


def _render_statement(what: Statement) -> bytes:
    from billing.documents import statement  # noqa: PLC0415

    return statement.draw(what)


def _addresses(invoice: Invoice) -> list[str]:
    named = [str(each) for each in invoice.buyer.get("emails", [])]
    return named or [person.email for person in holders(invoice.tenant, Right.VIEW_BILLING)]


def _send(invoice: Invoice, document: Document, to: list[str]) -> None:
    text = render_to_string("billing/mail_invoice.txt", {"invoice": invoice, "public_url": settings.PUBLIC_URL})
    message = EmailMessage(f"Invoice {invoice.number}", text, settings.DEFAULT_FROM_EMAIL, to)
    message.attach(f"{invoice.number}.pdf", bytes(document.content), PDF)
    try:
        message.send()
    except (OSError, SMTPException) as error:
        raise UnavailableError("The mail server took no mail.", code="billing.mail_failed") from error
