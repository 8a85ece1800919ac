"""Refunds to cards and disputes of payments: asked for under a key, written down as the provider tells of them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum

from audit import services as audit
from billing.gateways import stripe
from billing.gateways.protocols import DisputeResult, RefundResult, RefusedError
from billing.models import AttemptState, CreditNote, Dispute, PaymentAttempt, Refund, RefundState
from billing.services import ledger_events
from billing.services.payments import KEY_LIVES, SYSTEM
from core import clock, jobs
from core.errors import ConflictError, ForbiddenError, InvalidError
from core.money import Money

_ASKED_LONG_AGO = timedelta(minutes=2)
_BATCH = 100


def refund(attempt: PaymentAttempt, minor: int, *, key: str, reason: str, actor: audit.Party) -> Refund:
    """Send a part of a payment back to its card. The credit that it comes out of is booked before, by a credit note.

    `key` names what it is for. Raises InvalidError for more than is left of the payment.
    """
    return resolve(ask(attempt, minor, key=key, reason=reason, actor=actor).pk)


def ask(
    attempt: PaymentAttempt, minor: int, *, key: str, reason: str, actor: audit.Party, note: CreditNote | None = None
) -> Refund:
    """Write down that a refund is wanted; `resolve` sends it, now or by the sweep. Raises as `refund` does.

    `note` is the credit note that it goes with. Without one, more than one operator may give back alone is a ForbiddenError.
    """
    with transaction.atomic():
        attempt = PaymentAttempt.objects.select_for_update().get(pk=attempt.pk)
        there = Refund.objects.filter(key=key).first()
        if there is None:
            _check(attempt, minor)
            # Credit that was bought goes back to who bought it: no bill is lowered by that.
            if note is None and attempt.invoice_id is not None:
                _check_alone(attempt, minor)
            PaymentAttempt.objects.filter(pk=attempt.pk).update(refunded_minor=F("refunded_minor") + minor)
            there = Refund.objects.create(
                tenant_id=attempt.tenant_id,
                attempt=attempt,
                note=note,
                alone_minor=settings.BILLING_ALONE_MINOR,
                minor=minor,
                currency=attempt.currency,
                key=key,
                reason=reason,
            )
            _note("asked", there, actor)
    return there


def for_note(note: CreditNote, *, actor: audit.Party) -> list[Refund]:
    """Send what a credit note gives back to the cards that paid its invoice, the newest payment first.

    In the transaction of the note: the refunds are kept with it and sent by jobs after it. What no card paid stays credit.
    """
    left, found = note.returned_minor, []
    for attempt in PaymentAttempt.objects.filter(invoice_id=note.invoice_id, state=AttemptState.SUCCEEDED):
        minor = min(left, attempt.minor - attempt.refunded_minor)
        if minor > 0:
            row = ask(attempt, minor, key=f"cn:{note.pk}:{attempt.pk}", reason=note.reason, actor=actor, note=note)
            jobs.enqueue("billing.resolve_refund", refund_id=str(row.pk))
            found.append(row)
            left -= minor
    return found


def sweep() -> int:
    """Have every refund resolved that was asked for a while ago and has no answer; how many. A job each."""
    before = clock.now() - _ASKED_LONG_AGO
    waiting = Refund.objects.filter(state=RefundState.ASKING, updated_at__lte=before).order_by("updated_at")[:_BATCH]
    for row in waiting:
        jobs.enqueue("billing.resolve_refund", refund_id=str(row.pk))
    return len(waiting)


def ask_again() -> int:
    """Have everything asked for again that is not final at the provider, because a webhook may be lost; how many. A job each.

    Banks decide over disputes for months, and over refunds for days.
    """
    pending = list(Refund.objects.filter(state=RefundState.PENDING))
    for row in pending:
        jobs.enqueue("billing.resolve_refund", refund_id=str(row.pk))
    disputes = list(Dispute.objects.filter(state="open"))
    for dispute in disputes:
        jobs.enqueue("billing.resolve_dispute", dispute_id=str(dispute.pk))
    return len(pending) + len(disputes)


def resolve_dispute(dispute_id: UUID) -> Dispute:
    """Ask how a dispute stands, and write it down."""
    row = Dispute.objects.select_related("attempt__invoice").get(pk=dispute_id)
    told = stripe.gateway().dispute(row.external_id)
    return write_dispute(row.attempt, told)


def _check(attempt: PaymentAttempt, minor: int) -> None:
    if attempt.state != AttemptState.SUCCEEDED:
        raise ConflictError("Only a payment that succeeded can be refunded.", code="billing.not_paid")
    left = attempt.minor - attempt.refunded_minor
    if not 0 < minor <= left:
        raise InvalidError(
            f"A refund is more than nothing and at most {Money(left, attempt.currency)}, which is left of the payment.",
            code="billing.refund_too_large",
            field="minor",
        )


def _check_alone(attempt: PaymentAttempt, minor: int) -> None:
    others = Refund.objects.filter(attempt=attempt, note=None).exclude(state=RefundState.FAILED)
    alone = others.aggregate(sum=Sum("minor"))["sum"] or 0
    if alone + minor > settings.BILLING_ALONE_MINOR:
        raise ForbiddenError(
            f"One operator sends back {Money(settings.BILLING_ALONE_MINOR, attempt.currency)} of a payment at most.",
            code="billing.second_operator",
            next_step="Propose a credit note to the card; another operator decides.",
        )


def resolve(refund_id: UUID) -> Refund:
    """Ask what became of a refund, and write it down: under its key, or by the provider's list when keys may be forgotten."""
    row = Refund.objects.select_related("attempt").get(pk=refund_id)
    if row.state == RefundState.FAILED:
        return row
    gateway = stripe.gateway()
    if row.external_id:
        return write(row.pk, gateway.refund_result(row.external_id))
    assert row.attempt.external_id is not None
    charge = row.attempt.external_id
    told = gateway.found_refund(charge, str(row.pk)) if clock.now() - row.created_at > KEY_LIVES else None
    if told is None:
        try:
            told = gateway.refund(charge=charge, minor=row.minor, key=f"refund:{row.pk}", refund=str(row.pk))
        except RefusedError:
            return _fail(row.pk)
    return write(row.pk, told)


def write(refund_id: UUID, told: RefundResult) -> Refund:
    """How a refund stands. One that succeeded may still fail later; the money is then the organisation's credit again."""
    with transaction.atomic():
        row = _locked(refund_id)
        if told.state == "failed":
            row.external_id = told.id
            row.save(update_fields=["external_id", "updated_at"])
            return _fail(row.pk)
        if row.state == RefundState.FAILED:
            return row
        before, row.external_id = row.state, told.id
        row.state = RefundState.SUCCEEDED if told.state == "succeeded" else RefundState.PENDING
        row.save(update_fields=["external_id", "state", "updated_at"])
        # The provider's balance moves when it takes the request, not when the bank has it.
        ledger_events.refunded(
            row.tenant_id, row.minor, currency=row.currency, refund_id=told.id, invoice_id=row.attempt.invoice_id
        )
        if before != row.state:
            _note(row.state, row, SYSTEM)
    return row


def _fail(refund_id: UUID) -> Refund:
    with transaction.atomic():
        row = _locked(refund_id)
        if row.state == RefundState.FAILED:
            return row
        booked = row.state in (RefundState.SUCCEEDED, RefundState.PENDING)
        row.state = RefundState.FAILED
        row.save(update_fields=["state", "updated_at"])
        PaymentAttempt.objects.filter(pk=row.attempt_id).update(refunded_minor=F("refunded_minor") - row.minor)
        if booked and row.external_id:
            ledger_events.refund_failed(
                row.tenant_id,
                row.minor,
                currency=row.currency,
                refund_id=row.external_id,
                invoice_id=row.attempt.invoice_id,
            )
        _note("failed", row, SYSTEM)
    return row


def write_dispute(attempt: PaymentAttempt, told: DisputeResult) -> Dispute:
    """How a dispute stands. Opened and decided may be told in any order and as often as the provider likes."""
    with transaction.atomic():
        PaymentAttempt.objects.select_for_update().get(pk=attempt.pk)
        row, made = Dispute.objects.get_or_create(
            external_id=told.id,
            defaults={
                "tenant_id": attempt.tenant_id,
                "attempt": attempt,
                "minor": told.minor,
                "currency": told.currency,
                "reason": told.reason,
                "fee_minor": told.fee,
                "due_at": told.due_at,
            },
        )
        _book_opened(row, attempt)
        if made:
            _note("disputed", row, SYSTEM)
        if told.due_at is not None and row.due_at != told.due_at:
            row.due_at = told.due_at
            row.save(update_fields=["due_at", "updated_at"])
        if told.state in ("won", "lost") and row.state == "open":
            _book_decided(row, attempt, told)
            row.state, row.closed_at, row.fee_minor = told.state, clock.now(), told.fee
            row.save(update_fields=["state", "closed_at", "fee_minor", "updated_at"])
            _note(f"dispute_{told.state}", row, SYSTEM)
    return row


def _book_opened(row: Dispute, attempt: PaymentAttempt) -> None:
    if attempt.invoice is None:
        ledger_events.top_up_disputed(row.minor, currency=row.currency, dispute_id=row.external_id)
    else:
        ledger_events.dispute_opened(attempt.invoice, row.minor, dispute_id=row.external_id)


def _book_decided(row: Dispute, attempt: PaymentAttempt, told: DisputeResult) -> None:
    won, same = told.state == "won", {"currency": row.currency, "dispute_id": row.external_id}
    if attempt.invoice is None and won:
        ledger_events.top_up_dispute_won(row.minor, **same)
    elif attempt.invoice is None:
        ledger_events.top_up_dispute_lost(attempt.tenant_id, row.minor, fee=told.fee, **same)
    elif won:
        ledger_events.dispute_won(attempt.invoice, row.minor, dispute_id=row.external_id)
    else:
        ledger_events.dispute_lost(attempt.invoice, row.minor, dispute_id=row.external_id, fee=told.fee)


def _locked(refund_id: UUID) -> Refund:
    return Refund.objects.select_for_update(of=("self",)).select_related("attempt").get(pk=refund_id)


def _note(what: str, row: Refund | Dispute, actor: audit.Party) -> None:
    kind = "refund" if isinstance(row, Refund) else "dispute"
    data = {"tenant": str(row.tenant_id), "amount": str(row.amount)}
    audit.record(f"billing:{kind}:{what}", actor=actor, target=audit.Party(kind, str(row.pk), ""), data=data)
