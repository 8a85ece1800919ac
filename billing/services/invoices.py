"""Invoices: opened as documents, settled, and ended otherwise where they must be. Drafts of them: `drafts` and `monthly`.

Every change locks the invoice's row first. What an open invoice says never changes (triggers hold that); it is paid, voided while
nobody has paid any of it, written off, or credited by notes (`credits`).
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from audit import services as audit
from billing.core.postings import CUSTOMER_CREDIT, of
from billing.models import (
    Invoice,
    InvoiceState,
    LedgerAccount,
    Proposal,
    ProposalAct,
    Settlement,
    SettlementSource,
)
from billing.selectors import credit, ledger
from billing.services import booking, ledger_events, numbers, profiles
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError
from tenants.services import revisions


def open(  # noqa: A001 - the word of the trade
    invoice: Invoice, *, actor: audit.Party = audit.SYSTEM, despite_warnings: bool = False
) -> Invoice:
    """Make a draft a document: numbered, addressed, posted to the ledger, and from now on fixed. Twice is once.

    Raises ConflictError for a draft with warnings, unless an operator has seen them (`despite_warnings`), and for one that is
    gone. An invoice of nothing is paid at once.
    """
    with transaction.atomic():
        invoice = _locked(invoice.pk)
        if invoice.state != InvoiceState.DRAFT:
            return invoice
        if invoice.warnings and not despite_warnings:
            raise ConflictError(
                "This draft waits because something about it is unusual: " + _texts(invoice),
                code="billing.invoice_doubtful",
                next_step="Look at its lines, then open it as it is.",
            )
        now = clock.now()
        invoice.seller, invoice.buyer = profiles.seller(), profiles.buyer(invoice.tenant)
        invoice.entity, invoice.opened_at = settings.BILLING_ENTITY, now
        invoice.due_at = now + timedelta(days=settings.BILLING_DUE_DAYS)
        invoice.give_up_at = now + timedelta(days=settings.PAYMENT_UNCOLLECTIBLE_DAYS)
        invoice.number = numbers.take(numbers.INVOICES, now)
        invoice.state = InvoiceState.OPEN
        invoice.save()
        booking.opened(invoice)
        _use_credit(invoice)
        # Gateways learn from when on it stops tools with a price, and by `_end_if_settled` that it does not.
        revisions.touch(invoice.tenant_id)
        _end_if_settled(invoice)
        _note("opened", invoice, actor)
    return invoice


def settle(
    invoice: Invoice, minor: int, *, key: str, source: SettlementSource = SettlementSource.PAYMENT
) -> tuple[Invoice, int]:
    """Count a payment or credit towards an invoice; the invoice, and how much of `minor` it took (the rest is the customer's).

    `key` says which payment it is: told again it counts once. Also a written off invoice takes money that comes after all: it is
    made due again here, so that the payment is booked in the same transaction, after this. A void one takes nothing.
    Raises InvalidError for no amount, ConflictError for a draft, or for a key that meant another payment.
    """
    if minor <= 0:
        raise InvalidError("A payment is more than nothing.", code="billing.settlement_empty", field="minor")
    with transaction.atomic():
        invoice = _locked(invoice.pk)
        told = Settlement.objects.filter(key=key).first()
        if told is not None:
            if told.invoice_id != invoice.pk:
                raise ConflictError(
                    "This payment was counted towards another invoice.", code="billing.settled_elsewhere"
                )
            return invoice, told.minor
        if invoice.state == InvoiceState.DRAFT:
            raise ConflictError("A draft takes no payment.", code="billing.invoice_not_open")
        taken = 0 if invoice.state == InvoiceState.VOID else min(minor, invoice.owed_minor)
        if taken:
            if invoice.state == InvoiceState.UNCOLLECTIBLE:
                ledger_events.recovered(invoice)
            Settlement.objects.create(invoice=invoice, key=key, source=source, minor=taken, currency=invoice.currency)
            invoice.paid_minor += taken
            invoice.save(update_fields=["paid_minor", "updated_at"])
            _end_if_settled(invoice)
    return invoice, taken


def void(invoice: Invoice, *, actor: audit.Party, reason: str) -> Invoice:
    """Take back an invoice that nobody has paid any of: its month may be billed again. Its number stays taken.

    Raises ConflictError for one that was paid in part, credited, or has ended otherwise: that is corrected by credit notes, and
    ForbiddenError for one that is a document, unless two operators have agreed on it (`proposals`).
    """
    with transaction.atomic():
        invoice = _locked(invoice.pk)
        if invoice.state == InvoiceState.VOID:
            return invoice
        is_open = invoice.state == InvoiceState.OPEN
        if not (is_open or invoice.state == InvoiceState.DRAFT) or invoice.paid_minor or invoice.credited_minor:
            raise ConflictError(
                "Money has moved for this invoice, so it cannot be voided.",
                code="billing.invoice_not_voidable",
                next_step="Issue a credit note for what is wrong.",
            )
        if is_open:
            _need_agreement(invoice, ProposalAct.VOID)
        invoice.state, invoice.voided_at = InvoiceState.VOID, clock.now()
        invoice.save(update_fields=["state", "voided_at", "updated_at"])
        if is_open:
            ledger_events.invoice_voided(invoice)
            revisions.touch(invoice.tenant_id)
        _note("voided", invoice, actor, reason=reason)
    return invoice


def write_off(invoice: Invoice, *, actor: audit.Party, reason: str) -> Invoice:
    """Give up collecting. Providers lose what was not collected, the platform the rest; it may still be paid later.

    Before its time is over, only when two operators have agreed on it (`proposals`): raises ForbiddenError else.
    """
    with transaction.atomic():
        invoice = _locked(invoice.pk)
        if invoice.state == InvoiceState.UNCOLLECTIBLE:
            return invoice
        if invoice.state != InvoiceState.OPEN:
            raise ConflictError("Only an open invoice can be written off.", code="billing.invoice_not_open")
        # An older invoice has no day of its own.
        day = invoice.give_up_at or invoice.due_at
        if day is None or clock.now() < day:
            _need_agreement(invoice, ProposalAct.WRITE_OFF)
        ledger_events.written_off(invoice)
        invoice.state, invoice.written_off_at = InvoiceState.UNCOLLECTIBLE, clock.now()
        invoice.save(update_fields=["state", "written_off_at", "updated_at"])
        _note("written_off", invoice, actor, reason=reason)
    return invoice


def note_credited(invoice: Invoice, owed_minor: int) -> None:
    """Lower what is owed by a credit note. The caller has locked the invoice."""
    if owed_minor:
        invoice.credited_minor += owed_minor
        invoice.save(update_fields=["credited_minor", "updated_at"])
        _end_if_settled(invoice)


def lock(invoice_id: UUID) -> Invoice:
    """The invoice's row, for the rest of the transaction."""
    return _locked(invoice_id)


def _locked(invoice_id: UUID) -> Invoice:
    return Invoice.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=invoice_id)


def _need_agreement(invoice: Invoice, act: ProposalAct) -> None:
    if not Proposal.objects.filter(invoice=invoice, act=act, state=Proposal.State.APPROVED).exists():
        raise ForbiddenError(
            "This needs two operators.",
            code="billing.second_operator",
            next_step="Propose it; another operator decides.",
        )


def _use_credit(invoice: Invoice) -> None:
    """What the organisation has with us pays first, but for what is on its way back to a card."""
    account = LedgerAccount.objects.filter(code=of(CUSTOMER_CREDIT, invoice.tenant_id)).select_for_update().first()
    held = -ledger.balance(account.code) if account is not None and account.currency == invoice.currency else 0
    if (taken := min(held - credit.leaving(invoice.tenant_id), invoice.owed_minor)) > 0:
        ledger_events.credit_used(invoice, taken)
        key = f"inv:{invoice.pk}:credit"
        Settlement.objects.create(
            invoice=invoice, key=key, source=SettlementSource.CREDIT, minor=taken, currency=invoice.currency
        )
        invoice.paid_minor += taken
        invoice.save(update_fields=["paid_minor", "updated_at"])


def _end_if_settled(invoice: Invoice) -> None:
    if invoice.state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE) and invoice.owed_minor == 0:
        invoice.state, invoice.paid_at = InvoiceState.PAID, clock.now()
        invoice.save(update_fields=["state", "paid_at", "updated_at"])
        revisions.touch(invoice.tenant_id)


def _texts(invoice: Invoice) -> str:
    return " ".join(str(warning["text"]) for warning in invoice.warnings)


def _note(what: str, invoice: Invoice, actor: audit.Party, **more: str) -> None:
    audit.record(
        f"billing:invoice:{what}",
        actor=actor,
        target=audit.Party("invoice", str(invoice.pk), str(invoice)),
        data={"organisation": invoice.tenant.slug, "total": str(invoice.total)} | more,
    )
