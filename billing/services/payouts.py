"""Paying providers: a batch a month and rail, approved by two operators, sent under its own id, and followed to its end.

The call to a rail stands between two transactions. A batch whose outcome nobody saw stays `sending` and is told again under the
same id, never under another one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from audit import services as audit
from billing.core import postings
from billing.gateways import rails
from billing.gateways.protocols import RefusedError
from billing.gateways.rails import Answer, BatchOrder, ItemState, ItemStatus, PayoutOrder
from billing.models import PayoutApproval, PayoutBatch, PayoutItem, PayoutRail, ProviderAccount
from billing.selectors import ledger as reading
from billing.services import four_eyes, ledger_events, payout_news, payout_statements
from core import clock
from core.errors import ConflictError, InvalidError, MarketplaceError, NotFoundError
from core.jobs import enqueue
from tenants.context import platform_scope
from tenants.models import User

log = logging.getLogger(__name__)

APPROVALS = 2
_LOCK_CLASS = 83
# For so long after it was sent a batch is asked about: returned and unclaimed money comes back within it.
_FOLLOWED = timedelta(days=45)
_Batch, _Item = PayoutBatch.State, PayoutItem.State


# -- Putting together


def build(currency: str = "USD") -> list[PayoutBatch]:
    """From the day of payouts on: a batch for each rail that has none this month, of every provider with enough to be paid."""
    now = clock.now()
    if now.day < settings.PAYOUT_DAY:
        return []
    with platform_scope():
        made = [_build(PayoutRail(name), f"{now:%Y-%m}", currency) for name in PayoutRail.values]
    return [batch for batch in made if batch is not None]


def _build(rail: PayoutRail, month: str, currency: str) -> PayoutBatch | None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, rail.value])
        before = PayoutBatch.objects.filter(rail=rail, month=month, currency=currency)
        due = _due(rail)
        if not due or before.exclude(state=_Batch.REJECTED).exists():
            return None
        batch = PayoutBatch.objects.create(rail=rail, month=month, currency=currency, number=before.count() + 1)
        for account, minor in due:
            item = PayoutItem.objects.create(
                batch=batch,
                provider_id=account.provider_id,
                destination=account.destination,
                minor=minor,
                currency=currency,
            )
            ledger_events.payout_reserved(item.pk, account.provider_id, minor, currency=currency)
            payout_statements.make(item, account)
        payout_news.batch_waits(batch)
        return batch


def _due(rail: PayoutRail) -> list[tuple[ProviderAccount, int]]:
    """Who can be paid now, and how much: all that is available, once it is worth a payment."""
    now, minimum = clock.now(), settings.PAYOUT_MINIMUM[rail.value]
    accounts = ProviderAccount.objects.filter(rail=rail, state=ProviderAccount.State.ACTIVE).select_related("provider")
    payable = [account for account in accounts.order_by("provider_id") if account.may_be_paid(now)]
    codes = {account.pk: postings.of(postings.AVAILABLE, account.provider_id) for account in payable}
    held = reading.balances(codes.values())
    amounts = [(account, -held[codes[account.pk]]) for account in payable]
    return [(account, minor) for account, minor in amounts if minor >= max(minimum, 1)]


# -- Deciding


def approve(*, batch_id: UUID, operator: User) -> PayoutBatch:
    """One operator's yes; with the second one the batch goes out. Nobody decides over money of an organisation of theirs."""
    with transaction.atomic():
        batch = _waiting(batch_id)
        _require_stranger(batch, operator)
        _, made = PayoutApproval.objects.get_or_create(
            batch=batch, operator=operator, defaults={"operator_label": operator.email}
        )
        if not made:
            raise ConflictError(
                "You have approved this batch already.",
                code="billing.payout_second_person",
                next_step="It goes out when another operator approves it too.",
            )
        if batch.approvals.count() >= APPROVALS:
            batch.state, batch.decided_at = _Batch.APPROVED, clock.now()
            batch.save(update_fields=["state", "decided_at", "updated_at"])
            enqueue("billing.send_payouts")
        _record("billing:payout:approve", batch, operator)
    return batch


def reject(*, batch_id: UUID, operator: User, reason: str) -> PayoutBatch:
    """A batch that is wrong does not go out: its money is available again, and another batch can be put together."""
    reason = four_eyes.reason_of(reason, message="Say why the batch is rejected.")
    with transaction.atomic():
        batch = _waiting(batch_id)
        batch.state, batch.decided_at, batch.last_error = _Batch.REJECTED, clock.now(), reason
        batch.save(update_fields=["state", "decided_at", "last_error", "updated_at"])
        for item in batch.items.select_for_update().order_by("pk"):
            _fail(item, "the batch was rejected")
        _record("billing:payout:reject", batch, operator, reason=reason)
    return batch


def _waiting(batch_id: UUID) -> PayoutBatch:
    batch = PayoutBatch.objects.select_for_update().filter(pk=batch_id).first()
    if batch is None:
        raise NotFoundError("There is no such batch.")
    if batch.state != _Batch.WAITING:
        raise ConflictError(
            f"The batch is decided: {batch.get_state_display().lower()}.", code="billing.payout_decided"
        )
    return batch


def _require_stranger(batch: PayoutBatch, operator: User) -> None:
    four_eyes.need_operator(operator, "Payouts")
    paid = batch.items.values_list("provider__tenant_id", flat=True)
    words = "The batch pays an organisation that you are a member of."
    four_eyes.need_stranger(operator, paid, what=words, code="billing.payout_own")


# -- Sending


def send_approved() -> int:
    """Send every batch that is approved, and ask again about those whose outcome nobody saw; how many were sent."""
    with platform_scope():
        states = (_Batch.APPROVED, _Batch.SENDING)
        found = PayoutBatch.objects.filter(state__in=states).order_by("created_at").values_list("pk", flat=True)
        return sum(send(batch_id) for batch_id in list(found))


def send(batch_id: UUID) -> bool:
    """Send one batch; False when its outcome is not known yet, or when it is none of this function's."""
    named = PayoutBatch.objects.filter(pk=batch_id).values_list("rail", flat=True).first()
    if named is None or not rails.is_registered(named):
        return False
    order = _begin(batch_id)
    if order is None:
        return False
    batch, told = order
    try:
        answer = rails.rail(batch.rail).submit(told)
    except MarketplaceError as error:
        # A refusal proves that nothing was taken only when nothing was told before: else an earlier one may have arrived.
        if isinstance(error, InvalidError | RefusedError) and batch.attempts == 1:
            _refused(batch.pk, error)
            return True
        # It may have arrived: the same id asks again.
        PayoutBatch.objects.filter(pk=batch.pk).update(last_error=error.message[:300])
        log.warning("payout outcome unknown", extra={"subject": str(batch.pk), "why": error.error_code})
        return False
    _sent(batch.pk, answer)
    return True


def _begin(batch_id: UUID) -> tuple[PayoutBatch, BatchOrder] | None:
    with transaction.atomic():
        batch = PayoutBatch.objects.select_for_update(skip_locked=True).filter(pk=batch_id).first()
        if batch is None or batch.state not in {_Batch.APPROVED, _Batch.SENDING}:
            return None
        batch.state, batch.attempts = _Batch.SENDING, batch.attempts + 1
        batch.save(update_fields=["state", "attempts", "updated_at"])
        return batch, order_of(batch)


def order_of(batch: PayoutBatch) -> BatchOrder:
    """A batch as a rail is told it, always the same."""
    orders = [
        PayoutOrder(item.pk, item.destination, item.minor, item.currency, f"Earnings {batch.month}")
        for item in batch.items.order_by("pk")
    ]
    return BatchOrder(batch.pk, tuple(orders), batch.external_id)


def _sent(batch_id: UUID, answer: Answer) -> None:
    with transaction.atomic():
        batch = PayoutBatch.objects.select_for_update().get(pk=batch_id)
        if batch.state == _Batch.SENDING:
            batch.state, batch.external_id, batch.last_error = _Batch.SENT, answer.external_id, ""
            batch.sent_at = clock.now()
            batch.save(update_fields=["state", "external_id", "sent_at", "last_error", "updated_at"])
            batch.items.filter(state=_Item.RESERVED).update(state=_Item.TRAVELLING, updated_at=clock.now())
    apply(batch_id, answer.items)


def _refused(batch_id: UUID, error: MarketplaceError) -> None:
    """The rail took nothing of it, and says so: everybody has their money at their disposal again."""
    with transaction.atomic():
        batch = PayoutBatch.objects.select_for_update().get(pk=batch_id)
        for item in batch.items.select_for_update().order_by("pk"):
            _fail(item, error.message)
        batch.last_error = error.message[:300]
        _finish(batch)
        batch.save(update_fields=["last_error", "updated_at"])


# -- Following


def poll_sent() -> int:
    """Ask the rails about what is on its way, and for a time about what has arrived: money can come back; how many batches."""
    with platform_scope():
        since = clock.now() - _FOLLOWED
        states = (_Batch.SENT, _Batch.FINISHED)
        found = PayoutBatch.objects.filter(state__in=states, sent_at__gte=since).order_by("sent_at")
        return sum(poll(batch) for batch in list(found))


def poll(batch: PayoutBatch) -> bool:
    if not rails.is_registered(batch.rail):
        return False
    try:
        states = rails.rail(batch.rail).poll(order_of(batch))
    except MarketplaceError as error:
        log.warning("payouts not read", extra={"subject": str(batch.pk), "why": error.error_code})
        return False
    apply(batch.pk, states)
    return True


def apply(batch_id: UUID, states: Iterable[ItemState]) -> None:
    """Book what a rail says of items; said again, or in another order, it changes nothing more."""
    with transaction.atomic():
        batch = PayoutBatch.objects.select_for_update().get(pk=batch_id)
        items = {item.pk: item for item in batch.items.select_for_update().order_by("pk")}
        for state in states:
            if (item := items.get(state.item_id)) is not None:
                _apply(item, state)
        _finish(batch)


def _apply(item: PayoutItem, state: ItemState) -> None:
    item.rail_status, item.external_id = state.status.value, state.external_id or item.external_id
    item.reason, item.fee_minor = state.reason[:300], max(state.fee_minor, item.fee_minor)
    if state.status is ItemStatus.SUCCESS and item.state in {_Item.RESERVED, _Item.TRAVELLING}:
        _done(item)
    elif state.status in rails.NOT_ARRIVED and item.state != _Item.FAILED:
        _fail(item, state.reason or state.status.value.lower())
    elif state.status is ItemStatus.SUCCESS and item.state == _Item.FAILED:
        # Its money may be in another payout already: somebody has to look.
        log.error("a payout that had failed is said to have arrived", extra={"subject": str(item.pk)})
    item.save()


def _done(item: PayoutItem) -> None:
    cash = PayoutRail(item.batch.rail).cash
    ledger_events.payout_done(item.pk, item.provider_id, item.minor, currency=item.currency, out_of=cash)
    if item.fee_minor:
        ledger_events.payout_fee(item.pk, item.fee_minor, currency=item.currency, out_of=cash)
    item.state, item.ended_at = _Item.DONE, clock.now()
    payout_news.paid(item)


def _fail(item: PayoutItem, reason: str) -> None:
    """Not paid, or paid and come back: the provider has it at its disposal again."""
    back_in = PayoutRail(item.batch.rail).cash if item.state == _Item.DONE else ""
    ledger_events.payout_failed(item.pk, item.provider_id, item.minor, currency=item.currency, back_in=back_in)
    item.state, item.reason, item.ended_at = _Item.FAILED, reason[:300], clock.now()
    item.save()
    payout_news.not_paid(item)


def _finish(batch: PayoutBatch) -> None:
    if (
        batch.state in {_Batch.SENT, _Batch.SENDING}
        and not batch.items.exclude(state__in=[_Item.DONE, _Item.FAILED]).exists()
    ):
        batch.state, batch.finished_at = _Batch.FINISHED, clock.now()
        batch.save(update_fields=["state", "finished_at", "updated_at"])


def _record(action: str, batch: PayoutBatch, operator: User, **data: str) -> None:
    total = sum(batch.items.values_list("minor", flat=True))
    audit.record(
        action,
        actor=four_eyes.party(operator),
        target=audit.Party("payout_batch", str(batch.pk), str(batch)),
        data={"minor": total, "currency": batch.currency, "state": batch.state, **data},
    )
