"""Collecting invoices by card.

An attempt is committed with its key before the provider is asked, and what the provider said is written in a second transaction.
Whatever happens between the two, the attempt is asked about under the same key: an outcome is never guessed, and nothing is
tried a second time under another one.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit import services as audit
from billing.gateways import stripe
from billing.gateways.protocols import Charge, ChargeRequest, ChargeState, RefusedError
from billing.models import UNDER_WAY, AttemptState, Invoice, PaymentAttempt, PaymentCustomer
from billing.selectors import owing
from billing.services import invoices, ledger_events, methods
from core import clock, jobs
from core.errors import ConflictError, NotFoundError
from core.ids import uuid7

SYSTEM = audit.Party("system", label="system")
# For so long the provider surely remembers a key (it promises 24 hours); later, its list of payments is asked.
KEY_LIVES = timedelta(hours=23)
_ASKED_LONG_AGO = timedelta(minutes=2)
_BATCH = 100

_STATES = {
    ChargeState.SUCCEEDED: AttemptState.SUCCEEDED,
    ChargeState.DECLINED: AttemptState.DECLINED,
    ChargeState.NEEDS_HOLDER: AttemptState.NEEDS_HOLDER,
    ChargeState.PROCESSING: AttemptState.PROCESSING,
    ChargeState.CANCELLED: AttemptState.CANCELLED,
}


def collect(invoice_id: UUID, *, step: int | None = None, actor: audit.Party = SYSTEM) -> PaymentAttempt | None:
    """Charge what is due of an invoice to the organisation's card; None when nothing is due or the step was taken before.

    An attempt that waits for the card's holder is cancelled first, any other that is under way is resolved instead of a new one.
    Raises InvalidError without a card, UnknownOutcomeError when the provider did not say: ask again by `resolve`.
    """
    end_waiting(PaymentAttempt.objects.filter(invoice_id=invoice_id))
    with transaction.atomic():
        invoice = invoices.lock(invoice_id)
        made = PaymentAttempt.objects.filter(invoice=invoice)
        attempt = made.filter(state__in=UNDER_WAY).first()
        if attempt is None:
            # The schedule asks for what is due; a person may also pay what was given up.
            minor = invoice.due_minor if step is not None else owing.payable(invoice)
            if not minor or (step is not None and made.filter(step=step).exists()):
                return None
            attempt = _begin(invoice, minor, step, actor)
    return resolve(attempt.pk)


def _begin(invoice: Invoice, minor: int, step: int | None, actor: audit.Party) -> PaymentAttempt:
    method = methods.need_default(invoice.tenant_id)
    customer = PaymentCustomer.objects.get(tenant_id=invoice.tenant_id)
    name = uuid7()
    attempt = PaymentAttempt.objects.create(
        id=name,
        tenant_id=invoice.tenant_id,
        invoice=invoice,
        method=method,
        customer=customer.external_id,
        step=step,
        minor=minor,
        currency=invoice.currency,
        key=f"attempt:{name}",
    )
    note("attempted", attempt, actor)
    return attempt


def end_waiting(attempts: QuerySet[PaymentAttempt]) -> None:
    """Cancel which of them waits for the card's holder, so that it cannot be confirmed beside another attempt."""
    waiting = attempts.filter(state=AttemptState.NEEDS_HOLDER).first()
    if waiting is None or waiting.external_id is None:
        return
    try:
        charge = stripe.gateway().cancel(waiting.external_id)
    except RefusedError:
        # It was confirmed in between.
        charge = stripe.gateway().found(waiting.external_id)
    write(waiting.pk, charge)


def resolve(attempt_id: UUID) -> PaymentAttempt:
    """Ask what became of an attempt, and write it down. May be called at any time, as often as one likes."""
    attempt = PaymentAttempt.objects.select_related("method", "invoice").get(pk=attempt_id)
    if attempt.state not in UNDER_WAY:
        return attempt
    gateway = stripe.gateway()
    if attempt.external_id:
        return write(attempt.pk, gateway.found(attempt.external_id))
    if clock.now() - attempt.created_at > KEY_LIVES:
        found = gateway.found_by_attempt(attempt.customer, str(attempt.pk))
        return _never_arrived(attempt.pk, "not_found") if found is None else write(attempt.pk, found)
    try:
        charge = gateway.charge(_request(attempt))
    except (RefusedError, NotFoundError) as error:
        return _never_arrived(attempt.pk, error.error_code)
    return write(attempt.pk, charge)


def _request(attempt: PaymentAttempt) -> ChargeRequest:
    """From what is committed alone, so that it is the same whenever it is asked."""
    return ChargeRequest(
        customer=attempt.customer,
        card=attempt.method.external_id,
        minor=attempt.minor,
        currency=attempt.currency,
        key=attempt.key,
        attempt=str(attempt.pk),
        invoice=str(attempt.invoice_id or ""),
        description=f"Invoice {attempt.invoice.number}" if attempt.invoice else "Credit",
    )


def write(attempt_id: UUID, charge: Charge) -> PaymentAttempt:
    """Write down how a charge stands. A payment that succeeded stays so, and counts once, in whatever order this is told."""
    with transaction.atomic():
        attempt = _locked(attempt_id)
        if attempt.external_id not in (None, charge.id):
            raise ConflictError("This attempt has another payment.", code="billing.attempt_mixed_up")
        if attempt.state == AttemptState.SUCCEEDED:
            return attempt
        if attempt.state not in UNDER_WAY and charge.state is not ChargeState.SUCCEEDED:
            # What has ended changes only by money that came after all.
            return attempt
        state = _STATES[charge.state]
        changed = state != attempt.state
        attempt.external_id, attempt.state = charge.id, state
        attempt.code, attempt.message = charge.code[:100], charge.message[:500]
        if state not in (AttemptState.ASKING, AttemptState.PROCESSING):
            attempt.decided_at = clock.now()
        if state == AttemptState.SUCCEEDED:
            _succeed(attempt, charge)
        attempt.save()
        if changed:
            note(state, attempt, SYSTEM)
            if attempt.automatic and state in (AttemptState.DECLINED, AttemptState.NEEDS_HOLDER):
                jobs.enqueue("billing.tell_top_up", attempt_id=str(attempt.pk))
    return attempt


def _succeed(attempt: PaymentAttempt, charge: Charge) -> None:
    if attempt.invoice is None:
        ledger_events.topped_up(attempt.tenant_id, charge.minor, currency=charge.currency, payment_id=charge.id)
        jobs.enqueue("billing.tell_top_up", attempt_id=str(attempt.pk))
    else:
        invoice, _ = invoices.settle(attempt.invoice, charge.minor, key=f"pi:{charge.id}")
        ledger_events.payment_succeeded(invoice, charge.minor, payment_id=charge.id)
    attempt.fee_minor, attempt.entry = charge.fee, charge.entry
    if charge.fee and charge.entry:
        ledger_events.processor_fee(
            charge.fee, currency=charge.currency, transaction_id=charge.entry, invoice_id=attempt.invoice_id
        )


def _never_arrived(attempt_id: UUID, code: str) -> PaymentAttempt:
    """The provider has no such payment and will not have one: its key has run out, or it refused the request."""
    with transaction.atomic():
        attempt = _locked(attempt_id)
        if attempt.state == AttemptState.ASKING and attempt.external_id is None:
            attempt.state, attempt.code, attempt.decided_at = AttemptState.CANCELLED, code[:100], clock.now()
            attempt.save()
            note("cancelled", attempt, SYSTEM)
    return attempt


def ask_holder(attempt: PaymentAttempt, *, back: str) -> str:
    """Where to send the card's holder to confirm a payment; empty when it needs nobody (any more).

    Raises ConflictError for an attempt that does not wait for its holder.
    """
    if attempt.state != AttemptState.NEEDS_HOLDER or attempt.external_id is None:
        raise ConflictError("This payment does not wait for you.", code="billing.no_confirmation_needed")
    gateway = stripe.gateway()
    charge = gateway.found(attempt.external_id)
    if charge.state is ChargeState.NEEDS_HOLDER and not charge.redirect:
        charge = gateway.with_holder(attempt.external_id, card=attempt.method.external_id, back=back)
    return charge.redirect or _written(attempt, charge)


def _written(attempt: PaymentAttempt, charge: Charge) -> str:
    write(attempt.pk, charge)
    return ""


def sweep() -> int:
    """Have everything resolved that was asked a while ago and has no answer; how many. A job each: one holds up no other."""
    before = clock.now() - _ASKED_LONG_AGO
    states = (AttemptState.ASKING, AttemptState.PROCESSING)
    waiting = PaymentAttempt.objects.filter(state__in=states, updated_at__lte=before).order_by("updated_at")[:_BATCH]
    for attempt in waiting:
        jobs.enqueue("billing.resolve_attempt", attempt_id=str(attempt.pk))
    return len(waiting)


def _locked(attempt_id: UUID) -> PaymentAttempt:
    return PaymentAttempt.objects.select_for_update(of=("self",)).select_related("invoice").get(pk=attempt_id)


def note(what: str, attempt: PaymentAttempt, actor: audit.Party) -> None:
    """Put it on record."""
    data = {"tenant": str(attempt.tenant_id), "amount": str(attempt.amount), "code": attempt.code}
    if attempt.invoice is None:
        target = audit.Party("credit", str(attempt.pk), "")
    else:
        target = audit.Party("invoice", str(attempt.invoice_id), attempt.invoice.number or "")
    audit.record(f"billing:payment:{what}", actor=actor, target=target, data=data)
