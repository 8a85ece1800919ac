"""Jobs of invoices. Each may run twice."""

from __future__ import annotations

from uuid import UUID

from billing.models import CreditNote, Invoice, Statement
from billing.services import documents, issuing, upgrades
from core.jobs import TIME_LIMIT_S_MAX, task
from tenants.context import platform_scope


@task("billing.issue_invoices", time_limit=TIME_LIMIT_S_MAX)
def issue_invoices() -> None:
    """The sweep: every closed period without an invoice, whoever closed it and whenever."""
    issuing.issue_due()


@task("billing.invoice_upgrade")
def invoice_upgrade(subscription_id: str) -> None:
    upgrades.invoice(UUID(subscription_id))


@task("billing.render_invoice")
def render_invoice(invoice_id: str) -> None:
    with platform_scope():
        invoice = Invoice.objects.filter(pk=invoice_id, number__isnull=False).first()
        if invoice is not None:
            documents.of_invoice(invoice)
            documents.mail(UUID(invoice_id))


@task("billing.render_credit_note")
def render_credit_note(note_id: str) -> None:
    with platform_scope():
        note = CreditNote.objects.select_related("invoice").filter(pk=note_id).first()
        if note is not None:
            documents.of_note(note)


@task("billing.render_statement")
def render_statement(*, payout_id: str) -> None:
    with platform_scope():
        statement = Statement.objects.select_related("provider", "item__batch").filter(pk=UUID(payout_id)).first()
        if statement is not None:
            documents.of_statement(statement)


@task("billing.mail_invoices")
def mail_invoices() -> None:
    """The sweep for documents that were not made or not sent."""
    with platform_scope():
        for invoice_id in documents.waiting():
            documents.mail(invoice_id)
