"""Webhooks of payment providers: verified, stored once, acknowledged, and handled later by asking for the object itself.

Handlers write how a thing stands, not what happened to it, so that order, repeats and loss do not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from billing.gateways import stripe
from billing.gateways.protocols import Event
from billing.models import PaymentAttempt, ReceiptState, Refund, WebhookReceipt
from billing.services import connecting, payments, refunds
from core import clock, jobs
from core.errors import MarketplaceError, NotFoundError

ATTEMPTS_MAX = 5
_PAUSE_FIRST = timedelta(seconds=30)
_BATCH = 100


def receive(provider: str, event: Event, body: bytes) -> WebhookReceipt:
    """Store a verified event; one that is there already stays as it is."""
    with transaction.atomic():
        receipt, made = WebhookReceipt.objects.get_or_create(
            provider=provider,
            event_id=event.id,
            defaults={"kind": event.kind[:100], "subject": event.subject, "body": body},
        )
        if made:
            jobs.enqueue("billing.handle_webhook", receipt_id=str(receipt.pk))
    return receipt


def handle(receipt_id: UUID) -> WebhookReceipt:
    """Handle an event once; after five failures it is given up and waits for an operator."""
    receipt = WebhookReceipt.objects.get(pk=receipt_id)
    if receipt.state != ReceiptState.WAITING:
        return receipt
    try:
        _dispatch(receipt)
    except MarketplaceError as error:
        return _failed(receipt, error.error_code)
    except Exception as error:  # noqa: BLE001 - an event that breaks a handler must not hold up the others
        return _failed(receipt, type(error).__name__)
    receipt.state, receipt.handled_at, receipt.error = ReceiptState.HANDLED, clock.now(), ""
    receipt.save(update_fields=["state", "handled_at", "error", "updated_at"])
    return receipt


def again(receipt: WebhookReceipt) -> None:
    """Let an event that was given up be tried once more."""
    WebhookReceipt.objects.filter(pk=receipt.pk, state=ReceiptState.DEAD).update(
        state=ReceiptState.WAITING, attempts=0, next_at=clock.now()
    )
    jobs.enqueue("billing.handle_webhook", receipt_id=str(receipt.pk))


def due() -> list[UUID]:
    """Events whose job was lost or whose pause is over."""
    waiting = WebhookReceipt.objects.filter(state=ReceiptState.WAITING, next_at__lte=clock.now()).order_by("next_at")
    return list(waiting.values_list("pk", flat=True)[:_BATCH])


def _failed(receipt: WebhookReceipt, code: str) -> WebhookReceipt:
    receipt.attempts += 1
    receipt.error = code[:100]
    receipt.next_at = clock.now() + _PAUSE_FIRST * 2**receipt.attempts
    if receipt.attempts >= ATTEMPTS_MAX:
        receipt.state = ReceiptState.DEAD
    receipt.save(update_fields=["attempts", "error", "next_at", "state", "updated_at"])
    return receipt


def _dispatch(receipt: WebhookReceipt) -> None:
    if receipt.provider == "paypal":
        # Events of a batch carry no items: the rail is asked for all that is on its way.
        if receipt.kind.startswith("PAYMENT.PAYOUT"):
            jobs.enqueue("billing.poll_payouts")
        return
    for beginning, handler in _HANDLERS.items():
        if receipt.kind.startswith(beginning):
            handler(receipt.subject)
            return


def _payment(subject: str) -> None:
    charge = stripe.gateway().found(subject)
    attempt = _attempt(charge.id, charge.attempt)
    if attempt is not None:
        payments.write(attempt.pk, charge)


def _refund(subject: str) -> None:
    told = stripe.gateway().refund_result(subject)
    row = Refund.objects.filter(external_id=told.id).first()
    if row is not None:
        refunds.write(row.pk, told)


def _dispute(subject: str) -> None:
    told = stripe.gateway().dispute(subject)
    attempt = _attempt(told.charge, "")
    if attempt is None:
        raise NotFoundError("A payment that nobody here has made is disputed.", code="billing.dispute_unknown")
    if attempt.state != "succeeded":
        attempt = payments.resolve(attempt.pk)
    refunds.write_dispute(attempt, told)


def _attempt(charge: str, attempt_id: str) -> PaymentAttempt | None:
    """The attempt of a payment; by its own id where the answer with the payment's id has not come yet."""
    found = PaymentAttempt.objects.filter(external_id=charge).first()
    if found is None and attempt_id:
        found = PaymentAttempt.objects.filter(pk=attempt_id, external_id=None).first()
    return found


_HANDLERS: dict[str, Callable[[str], None]] = {
    "payment_intent.": _payment,
    "refund.": _refund,
    "charge.dispute.": _dispute,
    "account.updated": connecting.told_of,
}
