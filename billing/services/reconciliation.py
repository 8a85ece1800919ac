"""Our books against what payment providers say that they moved: every day, by external id (docs/payments.md).

The provider is asked outside of any transaction; what it says is compared and written down in one. Booked is one thing alone:
that Stripe paid what it holds to our bank, which nobody tells us otherwise. Any other difference is shown until it passes by
itself, or an operator closes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum

from audit import services as audit
from billing.core import postings, reconciling
from billing.core.postings import Kind
from billing.core.reconciling import Difference, Side
from billing.gateways import paypal, stripe
from billing.gateways.protocols import Movement, RefusedError
from billing.gateways.rails import NOT_ARRIVED, ItemStatus
from billing.models import (
    Dispute,
    LedgerPosting,
    PayoutBatch,
    PayoutItem,
    PayoutRail,
    ReconciliationItem,
    ReconciliationProvider,
    ReconciliationRun,
)
from billing.selectors import ledger as reading
from billing.services import ledger_events
from core import clock
from core.errors import ConflictError, InvalidError, MarketplaceError, NotFoundError
from tenants.models import User

log = logging.getLogger(__name__)

_LOCK_CLASS = 84
# Bookings of so many days are sought at Stripe, among movements of twice as many: news may come late.
_SOUGHT = timedelta(days=14)
_REACH = timedelta(days=28)
# An item of PayPal can stay unclaimed for 30 days and come back later still.
_BATCHES = timedelta(days=60)
_AT_ONCE = 1000
_Item, _Provider, _State = ReconciliationItem, ReconciliationProvider, ReconciliationItem.State
_UNKNOWN = frozenset({"billing.refused.invalid_resource_id", "billing.refused.resource_not_found"})
_ENDED = frozenset(status.value.lower() for status in {ItemStatus.SUCCESS, *NOT_ARRIVED})


@dataclass(frozen=True, slots=True)
class Books:
    """Both sides, by reference."""

    theirs: dict[str, Side]
    ours: dict[str, Side]


def run_due() -> list[ReconciliationRun]:
    """Compare with every provider that is configured."""
    configured = {_Provider.STRIPE: settings.STRIPE_KEY, _Provider.PAYPAL: settings.PAYPAL_CLIENT_ID}
    return [run(provider) for provider, key in configured.items() if key]


def run(provider: ReconciliationProvider) -> ReconciliationRun:
    """Compare with one provider. One that cannot be asked changes nothing; the run says so."""
    reader, reach = _READERS[provider]
    started = clock.now()
    made = ReconciliationRun.objects.create(provider=provider, since=started - reach)
    try:
        books = reader(started)
    except MarketplaceError as error:
        log.warning("not reconciled", extra={"subject": provider.value, "why": error.error_code})
        made.error, made.finished_at = error.error_code[:100], clock.now()
        made.save(update_fields=["error", "finished_at", "updated_at"])
        return made
    with transaction.atomic():
        _write(made, books)
    return made


# -- What both sides say


def _stripe(started: datetime) -> Books:
    gateway = stripe.gateway()
    movements = list(gateway.movements(started - _REACH))
    _book_bank_payouts(movements)
    theirs = _seen_before(_Provider.STRIPE) | _moved(movements)
    booked = _booked_since(postings.STRIPE, started - _SOUGHT, started)
    ours = booked | _booked_under(postings.STRIPE, [*theirs, *_open_references(_Provider.STRIPE)])
    currency = settings.BILLING_CURRENCY
    name = f"{reconciling.BALANCE_PREFIX}{currency}"
    theirs[name] = Side(gateway.balance(currency), currency)
    ours[name] = Side(reading.balance(postings.STRIPE) - _fees_of_open_disputes(currency), currency)
    return Books(theirs, ours)


def _book_bank_payouts(movements: Iterable[Movement]) -> None:
    """Each once, whatever its age within reach. What is not in the currency of our account at Stripe stays a difference."""
    for each in movements:
        if each.kind not in reconciling.BANK_PAYOUTS or each.currency != settings.BILLING_CURRENCY:
            continue
        with transaction.atomic():
            ledger_events.paid_to_bank(each.minor, currency=each.currency, movement_id=each.id, at=each.at)
            # Of an instant payout; the others cost nothing.
            if each.fee > 0:
                ledger_events.processor_fee(each.fee, currency=each.currency, transaction_id=each.id)


def _moved(movements: Iterable[Movement]) -> dict[str, Side]:
    movements = list(movements)
    transfers = [each.subject for each in movements if each.kind in reconciling.TRANSFERS]
    items = dict(PayoutItem.objects.filter(external_id__in=transfers).values_list("external_id", "pk"))
    found: dict[str, Side] = {}
    for each in movements:
        subject = each.subject
        if each.kind in reconciling.TRANSFERS:
            subject = str(items.get(each.subject, ""))
        for reference, minor in reconciling.references(
            each.kind, movement=each.id, subject=subject, minor=each.minor, fee=each.fee
        ):
            found[reference] = found.get(reference, Side(0, each.currency, each.at)).plus(minor)
    return found


def _booked_since(account: str, since: datetime, until: datetime) -> dict[str, Side]:
    """What is booked in a time. What a lost dispute costs was taken when it was opened: it has no movement of its own."""
    rows = LedgerPosting.objects.filter(
        account__code=account, transaction__booked_at__gte=since, transaction__booked_at__lt=until
    ).exclude(transaction__kind=Kind.DISPUTE_LOST)
    return _sides(rows.values_list("transaction__idempotency_key", "amount", "currency", "transaction__effective_at"))


def _booked_under(account: str, keys: list[str]) -> dict[str, Side]:
    found: dict[str, Side] = {}
    keys = [key for reference in keys for key in reconciling.keys_of(reference)]
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        rows = LedgerPosting.objects.filter(account__code=account, transaction__idempotency_key__in=some)
        found |= _sides(
            rows.values_list("transaction__idempotency_key", "amount", "currency", "transaction__effective_at")
        )
    return found


def _sides(rows: Iterable[tuple[str, int, str, datetime]]) -> dict[str, Side]:
    """An account is posted to once in a booking."""
    return {reconciling.reference_of(key): Side(amount, currency, at) for key, amount, currency, at in rows}


def _fees_of_open_disputes(currency: str) -> int:
    """Taken already, and booked when the bank has decided."""
    rows = Dispute.objects.filter(state="open", currency=currency)
    return rows.aggregate(total=Sum("fee_minor"))["total"] or 0


def _paypal(started: datetime) -> Books:
    """Items are compared as a whole, because PayPal says how they stand and not what happened to them."""
    batches = list(
        PayoutBatch.objects.filter(rail=PayoutRail.PAYPAL, sent_at__gte=started - _BATCHES).exclude(external_id="")
    )
    theirs = _seen_before(_Provider.PAYPAL)
    for batch in batches:
        theirs |= dict(_items_of(batch))
    items = PayoutItem.objects.filter(batch__in=batches).values_list("pk", flat=True)
    names = {f"po:{pk}" for pk in items} | set(theirs) | set(_open_references(_Provider.PAYPAL))
    return Books(theirs, _booked_payouts(sorted(names)))


def _items_of(batch: PayoutBatch) -> Iterator[tuple[str, Side]]:
    for found in _asked(batch):
        moved = found.minor if found.state == ItemStatus.SUCCESS.value.lower() else 0
        minor = -(moved + found.fee_minor) if found.state in _ENDED else 0
        yield f"po:{found.item or found.external_id}", Side(minor, batch.currency, batch.sent_at)


def _asked(batch: PayoutBatch) -> list[paypal.PayoutItem]:
    """A batch that PayPal does not know has no items: what is booked of it is then not at the provider."""
    try:
        return list(paypal.gateway().items(batch.external_id))
    except RefusedError as error:
        if error.error_code not in _UNKNOWN:
            raise
        return []


def _booked_payouts(references: list[str]) -> dict[str, Side]:
    found: dict[str, Side] = {}
    for first in range(0, len(references), _AT_ONCE):
        ids = [reference.removeprefix("po:") for reference in references[first : first + _AT_ONCE]]
        rows = LedgerPosting.objects.filter(
            account__code=postings.PAYPAL, transaction__source_type="payout", transaction__source_id__in=ids
        )
        for source, currency, total in (
            rows.order_by().values_list("transaction__source_id", "currency").annotate(total=Sum("amount"))
        ):
            found[f"po:{source}"] = Side(total, currency)
    return found


def _seen_before(provider: ReconciliationProvider) -> dict[str, Side]:
    """What open differences say of the provider's side, so that they are looked at again when they are out of reach."""
    rows = _Item.objects.filter(provider=provider, state=_State.OPEN, theirs_minor__isnull=False)
    return {
        row.reference: Side(row.theirs_minor, row.currency, row.moved_at)
        for row in rows
        if row.theirs_minor is not None and not row.is_balance
    }


def _open_references(provider: ReconciliationProvider) -> list[str]:
    return list(_Item.objects.filter(provider=provider, state=_State.OPEN).values_list("reference", flat=True))


_READERS: dict[ReconciliationProvider, tuple[Callable[[datetime], Books], timedelta]] = {
    _Provider.STRIPE: (_stripe, _REACH),
    _Provider.PAYPAL: (_paypal, _BATCHES),
}


# -- What is written down


def _write(made: ReconciliationRun, books: Books) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK_CLASS, made.provider])
    differences = {each.reference: each for each in reconciling.compare(books.theirs, books.ours)}
    known = {
        row.reference: row
        for row in _Item.objects.select_for_update().filter(provider=made.provider, reference__in=list(differences))
    }
    for reference, difference in differences.items():
        _found(made, difference, known.get(reference))
    judged = books.theirs.keys() | books.ours.keys()
    for row in _Item.objects.select_for_update().filter(provider=made.provider, state=_State.OPEN):
        if row.reference in judged and row.reference not in differences:
            row.state, row.ended_at = _State.SETTLED, clock.now()
            row.save(update_fields=["state", "ended_at", "updated_at"])
    made.compared, made.differing, made.finished_at = len(judged), len(differences), clock.now()
    made.save(update_fields=["compared", "differing", "finished_at", "updated_at"])


def _found(made: ReconciliationRun, difference: Difference, row: ReconciliationItem | None) -> None:
    """One that an operator has closed stays closed for as long as it says the same; a balance moves, its difference stays."""
    if row is None:
        row = _Item(provider=made.provider, reference=difference.reference[:255])
        before = None
    else:
        before = (row.fault, row.difference_minor)
    row.run, row.fault, row.currency = made, difference.fault.value, difference.currency
    row.ours_minor, row.theirs_minor, row.moved_at = difference.ours, difference.theirs, difference.at
    changed = before != (row.fault, row.difference_minor)
    if row.state == _State.SETTLED or (row.state == _State.CLOSED and changed):
        row.state, row.found_at, row.ended_at = _State.OPEN, clock.now(), None
        row.closed_by = row.reason = ""
    row.save()


# -- What operators say


def write_note(*, item_id: UUID, text: str, operator: User) -> ReconciliationItem:
    """What is known of a difference so far; it replaces the note before."""
    text = text.strip()
    if not 0 < len(text) <= 2000:
        raise InvalidError("A note has 1 to 2,000 characters.", code="billing.note_invalid", field="note")
    with transaction.atomic():
        row = _locked(item_id)
        row.note = text
        row.save(update_fields=["note", "updated_at"])
        _record("note", row, operator, note=text)
    return row


def close(*, item_id: UUID, reason: str, operator: User) -> ReconciliationItem:
    """Say that nothing is to be done about a difference, and why. Books nothing."""
    reason = " ".join(reason.split())[:300]
    if not reason:
        raise InvalidError("Say why the difference is closed.", code="billing.reason_missing", field="reason")
    with transaction.atomic():
        row = _locked(item_id)
        if row.state != _State.OPEN:
            raise ConflictError(
                f"The difference is not open: {row.get_state_display().lower()}.", code="billing.reconciliation_ended"
            )
        row.state, row.reason, row.closed_by, row.ended_at = _State.CLOSED, reason, operator.email, clock.now()
        row.save(update_fields=["state", "reason", "closed_by", "ended_at", "updated_at"])
        _record("close", row, operator, reason=reason)
    return row


def _locked(item_id: UUID) -> ReconciliationItem:
    row = _Item.objects.select_for_update().filter(pk=item_id).first()
    if row is None:
        raise NotFoundError("There is no such difference.")
    return row


def _record(what: str, row: ReconciliationItem, operator: User, **data: str) -> None:
    audit.record(
        f"billing:reconciliation:{what}",
        actor=audit.Party("operator", str(operator.pk), operator.email),
        target=audit.Party("reconciliation_item", str(row.pk), row.reference),
        data={"provider": row.provider, "difference": str(row.difference), **data},
    )
