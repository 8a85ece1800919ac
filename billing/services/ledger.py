"""Writing the ledger. A booking is made in the transaction of what it is about, so that the two stand or fall together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from billing.core import postings
from billing.core.postings import Entry, Kind
from billing.models import LedgerAccount, LedgerPosting, LedgerTransaction
from core import clock
from core.errors import ConflictError, InvalidError
from core.ids import uuid7
from core.money import Money

# Who writes bookings holds it shared until the commit; who takes a snapshot waits for them, and so misses no posting.
_LOCK = (81, 0)


def post(
    kind: Kind,
    *,
    key: str,
    source_type: str,
    source_id: object,
    entries: Iterable[Entry],
    currency: str,
    effective_at: datetime | None = None,
    invoice_id: UUID | None = None,
    reverses: LedgerTransaction | None = None,
) -> LedgerTransaction:
    """Book an event once: the same key with the same entries gives the booking that is there.

    Raises InvalidError for entries that do not balance or may not meet, ConflictError for a key that was used for something else.
    """
    booked = postings.merged(entries)
    postings.check(kind, booked)
    Money(0, currency)  # a currency is three capital letters
    with transaction.atomic():
        _hold_shared()
        made = LedgerTransaction(
            idempotency_key=key,
            kind=kind,
            effective_at=effective_at or clock.now(),
            source_type=source_type,
            source_id=str(source_id),
            invoice_id=invoice_id,
            reverses=reverses,
            posting_count=len(booked),
        )
        # Waits for whoever is writing the same key at this moment, so that there is an answer either way.
        LedgerTransaction.objects.bulk_create([made], ignore_conflicts=True)
        found = LedgerTransaction.objects.filter(idempotency_key=key).first()
        if found is None:
            raise ConflictError("This booking was reversed before.", code="billing.booking_reversed")
        if found.pk != made.pk:
            return _same(found, kind, booked, currency)
        accounts = _accounts([entry.account for entry in booked], currency)
        LedgerPosting.objects.bulk_create(
            LedgerPosting(transaction=made, account=accounts[account], currency=currency, amount=minor)
            for account, minor in booked
        )
    return made


def reverse(
    booking: LedgerTransaction, kind: Kind, *, key: str, source_type: str, source_id: object
) -> LedgerTransaction:
    """Book the opposite of what was recorded; a booking is reversed once."""
    entries, currency = entries_of(booking)
    return post(
        kind,
        key=key,
        source_type=source_type,
        source_id=source_id,
        entries=postings.reversed_(entries),
        currency=currency,
        invoice_id=booking.invoice_id,
        reverses=booking,
    )


def entries_of(booking: LedgerTransaction) -> tuple[list[Entry], str]:
    """What a booking recorded, in the order of codes, and its currency."""
    rows = list(booking.postings.values_list("account__code", "amount", "currency"))
    # Sorted here: a collation of the database may know another order of codes.
    return sorted(Entry(code, amount) for code, amount, _ in rows), rows[0][2]


def snapshot() -> int:
    """Sum up every account as far as bookings are complete; how many accounts. Balances are the same before and after."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", _LOCK)
        cursor.execute("SELECT coalesce(max(id), 0) FROM billing_ledgerposting")
        (through,) = cursor.fetchone()
    with connection.cursor() as cursor:
        # From the first posting on, never from the snapshot before: an error in one would live for ever.
        cursor.execute(
            "INSERT INTO billing_ledgersnapshot (account_id, through_id, amount, made_at)"
            " SELECT account_id, %(through)s, sum(amount), %(now)s FROM billing_ledgerposting WHERE id <= %(through)s"
            " GROUP BY account_id ON CONFLICT (account_id) DO UPDATE"
            " SET through_id = excluded.through_id, amount = excluded.amount, made_at = excluded.made_at"
            " WHERE billing_ledgersnapshot.through_id <= excluded.through_id",
            {"through": through, "now": clock.now()},
        )
        return cursor.rowcount


def _hold_shared() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", _LOCK)


def _same(found: LedgerTransaction, kind: Kind, booked: Sequence[Entry], currency: str) -> LedgerTransaction:
    if found.kind != kind or entries_of(found) != (list(booked), currency):
        raise ConflictError(
            f"The booking {found.idempotency_key} is there with other entries.",
            code="billing.booking_differs",
            next_step="Book the difference as an event of its own.",
        )
    return found


def _accounts(codes: Sequence[str], currency: str) -> dict[str, LedgerAccount]:
    """The accounts of codes, made where they are missing, in the order of codes so that no two writers wait for each other."""
    found = LedgerAccount.objects.in_bulk(codes, field_name="code")
    missing = [_account(code, currency) for code in sorted(set(codes) - set(found))]
    if missing:
        LedgerAccount.objects.bulk_create(missing, ignore_conflicts=True)
        found = LedgerAccount.objects.in_bulk(codes, field_name="code")
    if other := [code for code, account in found.items() if account.currency != currency]:
        raise InvalidError(
            f"{other[0]} is kept in {found[other[0]].currency}, not in {currency}.", code="billing.currency_differs"
        )
    return found


def _account(code: str, currency: str) -> LedgerAccount:
    owner = postings.owner_of(code)
    return LedgerAccount(
        id=uuid7(),
        code=code,
        type=code[0],
        family=postings.family_of(code),
        currency=currency,
        tenant_id=UUID(owner.id) if owner.kind == "tenant" else None,
        provider_id=UUID(owner.id) if owner.kind == "provider" else None,
    )
