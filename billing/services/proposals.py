"""Acts on invoices that two operators decide: one proposes, another one approves, and then it is done in the same transaction.

The checks stand in `invoices` and `credits` as well, and once more in triggers: no page, command or shell goes round them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from django.db import transaction
from django.urls import reverse

from audit import services as audit
from billing.models import CreditNote, CreditTarget, Invoice, InvoiceState, Proposal, ProposalAct
from billing.services import credits as crediting
from billing.services import four_eyes, invoices
from billing.services.credits import LineCredit
from core import clock
from core.errors import ConflictError, InvalidError, NotFoundError
from notifications import services as notifications
from tenants.context import platform_scope
from tenants.models import User

_State = Proposal.State


def propose(invoice: Invoice, act: ProposalAct, *, reason: str, operator: User) -> Proposal:
    """Ask another operator to void an open invoice, or to write it off.

    Raises InvalidError without a reason, ConflictError for an invoice that is not open or about which something waits already.
    """
    if act == ProposalAct.CREDIT:
        raise ValueError("a credit note is proposed with its lines")
    with transaction.atomic():
        invoice = invoices.lock(invoice.pk)
        if invoice.state != InvoiceState.OPEN:
            raise ConflictError("Only an open invoice can be voided or written off.", code="billing.invoice_not_open")
        return _keep(invoice, act, minor=invoice.owed_minor, terms={}, reason=reason, operator=operator)


def credit(
    invoice: Invoice,
    lines: Sequence[LineCredit],
    *,
    reason: str,
    key: str,
    operator: User,
    to: CreditTarget = CreditTarget.BALANCE,
) -> CreditNote | Proposal:
    """Issue a credit note, or propose it where it is more than one operator gives back alone. Raises as both do."""
    with transaction.atomic():
        invoice = invoices.lock(invoice.pk)
        if (known := CreditNote.objects.filter(key=key, invoice=invoice).first()) is not None:
            return known
        net, total = crediting.sums(invoice, lines)
        if not crediting.needs_another(invoice, total):
            party = four_eyes.party(operator)
            return crediting.issue(invoice, lines, reason=reason, key=key, actor=party, to=to)
        if invoice.state not in (InvoiceState.OPEN, InvoiceState.PAID):
            raise ConflictError("Only open and paid invoices are credited.", code="billing.invoice_not_creditable")
        terms = {"lines": {str(each.line_id): each.minor for each in lines if each.minor}, "to": str(to)}
        return _keep(invoice, ProposalAct.CREDIT, minor=net, terms=terms, reason=reason, operator=operator)


def approve(*, proposal_id: UUID, operator: User) -> Proposal:
    """The second operator's yes: what was proposed is done with it, or nothing is, and the error says what is in the way."""
    with transaction.atomic():
        row = _waiting(proposal_id)
        _may_decide(row.invoice, operator)
        if row.proposed_by_id == operator.pk:
            raise ConflictError(
                "You have proposed this yourself.",
                code="billing.second_operator",
                next_step="It is done when another operator approves it.",
            )
        _end(row, _State.APPROVED, operator)
        _ACTS[ProposalAct(row.act)](row, operator)
    return row


def reject(*, proposal_id: UUID, operator: User, reason: str) -> Proposal:
    """Nothing is done. By the operator who proposed it, it is withdrawn."""
    reason = four_eyes.reason_of(reason, message="Say why it is rejected.")
    with transaction.atomic():
        row = _waiting(proposal_id)
        _may_decide(row.invoice, operator)
        own = row.proposed_by_id == operator.pk
        _end(row, _State.WITHDRAWN if own else _State.REJECTED, operator, answer=reason)
    return row


def _void(row: Proposal, operator: User) -> None:
    invoices.void(row.invoice, actor=four_eyes.party(operator), reason=row.reason)


def _write_off(row: Proposal, operator: User) -> None:
    invoices.write_off(row.invoice, actor=four_eyes.party(operator), reason=row.reason)


def _credit(row: Proposal, operator: User) -> None:
    crediting.issue(
        row.invoice,
        [LineCredit(UUID(line), minor) for line, minor in row.terms["lines"].items()],
        reason=row.reason,
        key=f"proposal:{row.pk}",
        actor=four_eyes.party(operator),
        to=CreditTarget(row.terms["to"]),
        proposal=row,
    )


_ACTS: Mapping[ProposalAct, Callable[[Proposal, User], None]] = {
    ProposalAct.VOID: _void,
    ProposalAct.WRITE_OFF: _write_off,
    ProposalAct.CREDIT: _credit,
}


def _keep(
    invoice: Invoice, act: ProposalAct, *, minor: int, terms: Mapping[str, object], reason: str, operator: User
) -> Proposal:
    """The caller has locked the invoice."""
    reason = four_eyes.reason_of(reason, message="Say why.")
    _may_decide(invoice, operator)
    if minor <= 0:
        raise InvalidError("This moves nothing.", code="billing.proposal_empty")
    if Proposal.objects.filter(invoice=invoice, state=_State.WAITING).exists():
        raise ConflictError(
            "Something about this invoice waits for another operator already.",
            code="billing.proposal_waits",
            next_step="Have it decided or withdraw it first.",
        )
    row = Proposal.objects.create(
        act=act,
        invoice=invoice,
        minor=minor,
        currency=invoice.currency,
        terms=dict(terms),
        reason=reason,
        proposed_by=operator,
        proposed_label=operator.email,
    )
    _record("made", row, operator)
    four_eyes.tell_operators(
        kind="billing.proposal_waits",
        title=f"Waits for another operator: {row}",
        body=f"{operator.email} proposes it for {invoice.tenant.name}: {row.amount}. Reason: {reason}",
        url=_url(row),
        but=operator,
    )
    return row


def _may_decide(invoice: Invoice, operator: User) -> None:
    four_eyes.need_operator(operator, "Such changes")
    words = "The invoice is of an organisation that you are a member of."
    four_eyes.need_stranger(operator, [invoice.tenant_id], what=words, code="billing.proposal_own")


def _waiting(proposal_id: UUID) -> Proposal:
    """Locks the invoice first, as everything else about it does."""
    found = Proposal.objects.filter(pk=proposal_id).values_list("invoice_id", flat=True).first()
    if found is None:
        raise NotFoundError("There is no such proposal.")
    invoices.lock(found)
    row = Proposal.objects.select_for_update(of=("self",)).select_related("invoice__tenant").get(pk=proposal_id)
    if row.state != _State.WAITING:
        raise ConflictError(
            f"The proposal is decided: {row.get_state_display().lower()}.", code="billing.proposal_decided"
        )
    return row


def _end(row: Proposal, state: Proposal.State, operator: User, *, answer: str = "") -> None:
    row.state, row.answer, row.decided_at = state, answer, clock.now()
    row.decided_by, row.decided_label = operator, operator.email
    row.save(update_fields=["state", "answer", "decided_at", "decided_by", "decided_label", "updated_at"])
    _record(state.value, row, operator)
    if state != _State.WITHDRAWN:
        _tell_proposer(row)


def _tell_proposer(row: Proposal) -> None:
    with platform_scope():
        notifications.notify(
            kind="billing.proposal_decided",
            title=f"{row.get_state_display()}: {row}",
            body=f"By {row.decided_label}. {row.answer}".strip(),
            url=_url(row),
            recipient_id=row.proposed_by_id,
        )


def _url(row: Proposal) -> str:
    return reverse("operations-billing-proposal", args=[row.pk])


def _record(what: str, row: Proposal, operator: User) -> None:
    data = {
        "act": row.act,
        "invoice": str(row.invoice),
        "amount": str(row.amount),
        "reason": row.reason,
        "proposed_by": row.proposed_label,
    }
    target = audit.Party("proposal", str(row.pk), str(row))
    audit.record(f"billing:proposal:{what}", actor=four_eyes.party(operator), target=target, data=data)
