"""Credit notes: the only way to correct what was billed.

Of each line only so much is credited as it has, over all notes together. Its provider's part and the invoice's tax go back by
cumulative rounding: whatever the steps, credits of a whole line give back its whole part, and of all lines the whole tax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from audit import services as audit
from billing.core.credits import Credited, Part, Whole, split_credit
from billing.models import (
    CreditNote,
    CreditNoteLine,
    CreditTarget,
    Invoice,
    InvoiceLine,
    InvoiceState,
    LineKind,
    Proposal,
)
from billing.services import booking, invoices, numbers, refunds
from core import clock, jobs
from core.errors import ConflictError, ForbiddenError, InvalidError
from core.money import Money

_CREDITABLE = (InvoiceState.OPEN, InvoiceState.PAID)


@dataclass(frozen=True, slots=True)
class LineCredit:
    """How much of a line to take back, in minor units of its net."""

    line_id: UUID
    minor: int


def issue(
    invoice: Invoice,
    lines: Sequence[LineCredit],
    *,
    reason: str,
    key: str,
    actor: audit.Party,
    to: CreditTarget = CreditTarget.BALANCE,
    proposal: Proposal | None = None,
) -> CreditNote:
    """Credit parts of an invoice's lines; tax goes back with them. `key` names the note: issued again, it is the same one.

    What the invoice still owes is lowered first; the rest was paid, and goes to the customer's credit or the card.
    Raises InvalidError for a line that is not the invoice's or has less left, ConflictError for a draft or void invoice, and
    ForbiddenError beyond what one operator gives back alone, unless it is the `proposal` that another one has approved.
    """
    reason = " ".join(reason.split())[:300]
    if not reason:
        raise InvalidError("Say why: the reason is on the note.", code="billing.credit_reason", field="reason")
    with transaction.atomic():
        invoice = invoices.lock(invoice.pk)
        if known := CreditNote.objects.filter(key=key).first():
            if known.invoice_id != invoice.pk:
                raise ConflictError("This key names another credit note.", code="billing.credit_key_taken")
            return known
        if invoice.state not in _CREDITABLE:
            raise ConflictError("Only open and paid invoices are credited.", code="billing.invoice_not_creditable")
        parts = _parts(invoice, lines)
        if proposal is None and needs_another(invoice, sum(part.minor + part.tax_minor for _, part in parts)):
            raise ForbiddenError(
                f"One operator gives back {Money(settings.BILLING_ALONE_MINOR, invoice.currency)} of an invoice at most.",
                code="billing.second_operator",
                next_step="Propose the credit note; another operator decides.",
            )
        note = _write(invoice, parts, reason=reason, key=key, target=to, actor=actor, proposal=proposal)
        booking.credited(note)
        invoices.note_credited(invoice, note.owed_minor)
        if note.target == CreditTarget.CARD:
            refunds.for_note(note, actor=actor)
        jobs.enqueue("billing.render_credit_note", note_id=str(note.pk))
    return note


def sums(invoice: Invoice, lines: Sequence[LineCredit]) -> tuple[int, int]:
    """Net and total of what a credit note for these lines would be. Raises as `issue` does."""
    parts = _parts(invoice, lines)
    net = sum(part.minor for _, part in parts)
    return net, net + sum(part.tax_minor for _, part in parts)


def needs_another(invoice: Invoice, total_minor: int) -> bool:
    """Whether one operator has given back too much of an invoice alone, if this is added."""
    alone = CreditNote.objects.filter(invoice=invoice, proposal=None).aggregate(sum=Sum("total_minor"))["sum"] or 0
    return bool(alone + total_minor > settings.BILLING_ALONE_MINOR)


def left_of(invoice: Invoice) -> dict[UUID, int]:
    """What may still be credited of each line, in minor units of its net."""
    done = _done(invoice)
    return {line.pk: line.minor - done.get(line.pk, 0) for line in invoice.lines.exclude(kind=LineKind.TAX)}


def _done(invoice: Invoice) -> dict[UUID, int]:
    rows = CreditNoteLine.objects.filter(note__invoice=invoice).order_by().values_list("line_id")
    return dict(rows.annotate(done=Sum("minor")))


def _parts(invoice: Invoice, lines: Sequence[LineCredit]) -> list[tuple[InvoiceLine, Part]]:
    own = {line.pk: line for line in invoice.lines.exclude(kind=LineKind.TAX)}
    wanted = _wanted(own, lines)
    done = _done(invoice)
    whole = Whole(net_minor=invoice.net_minor, tax_minor=invoice.tax_minor, credited_minor=sum(done.values()))
    asked = [
        Credited(line.minor, line.provider_minor, done.get(pk, 0), wanted[pk])
        for pk, line in own.items()
        if pk in wanted
    ]
    try:
        parts = split_credit(whole, asked)
    except ValueError as error:
        raise InvalidError(
            f"{error}.", code="billing.credit_too_much", next_step="Credit at most what is left of each line."
        ) from error
    return list(zip([line for pk, line in own.items() if pk in wanted], parts, strict=True))


def _wanted(own: Mapping[UUID, InvoiceLine], lines: Sequence[LineCredit]) -> dict[UUID, int]:
    wanted = {each.line_id: each.minor for each in lines if each.minor}
    if not wanted or len(wanted) != sum(1 for each in lines if each.minor):
        raise InvalidError("Name each line once, with an amount.", code="billing.credit_empty", field="lines")
    if set(wanted) - set(own):
        raise InvalidError("This line is not of this invoice.", code="billing.credit_line", field="lines")
    return wanted


def _write(
    invoice: Invoice,
    parts: Sequence[tuple[InvoiceLine, Part]],
    *,
    reason: str,
    key: str,
    target: CreditTarget,
    actor: audit.Party,
    proposal: Proposal | None,
) -> CreditNote:
    net, tax = sum(part.minor for _, part in parts), sum(part.tax_minor for _, part in parts)
    if net + tax <= 0:
        raise InvalidError("A credit note gives something back.", code="billing.credit_empty", field="lines")
    now = clock.now()
    note = CreditNote.objects.create(
        invoice=invoice,
        tenant=invoice.tenant,
        key=key,
        reason=reason,
        target=target,
        currency=invoice.currency,
        net_minor=net,
        tax_minor=tax,
        total_minor=net + tax,
        owed_minor=min(invoice.owed_minor, net + tax),
        proposal=proposal,
        alone_minor=settings.BILLING_ALONE_MINOR,
        issued_by=actor.label,
        issued_at=now,
        number=numbers.take(numbers.CREDIT_NOTES, now),
    )
    CreditNoteLine.objects.bulk_create(
        CreditNoteLine(
            note=note,
            line=line,
            minor=part.minor,
            provider_minor=part.provider_minor,
            platform_minor=part.minor - part.provider_minor,
            tax_minor=part.tax_minor,
        )
        for line, part in parts
    )
    audit.record(
        "billing:credit_note:issued",
        actor=actor,
        target=audit.Party("credit note", str(note.pk), note.number),
        data={"invoice": str(invoice), "total": str(note.total), "reason": reason, "to": str(target)},
    )
    return note
