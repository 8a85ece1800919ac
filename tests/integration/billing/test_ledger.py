"""The ledger on Postgres: what it refuses, whoever asks, and what it books once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.core import postings
from billing.core.postings import Entry, Kind
from billing.models import LedgerAccount, LedgerPosting, LedgerTransaction
from billing.selectors import ledger as reading
from billing.services import ledger
from core.errors import ConflictError, InvalidError
from tenants.context import platform_scope


def top_up(cast, minor: int = 500, key: str = "", currency: str = "USD") -> LedgerTransaction:
    key = key or f"topup:{uuid4()}"
    entries = postings.top_up(cast.acme.pk, minor)
    return ledger.post(
        Kind.TOP_UP, key=key, source_type="payment", source_id="pi_1", entries=entries, currency=currency
    )


def settle() -> None:
    """Run what would run at the commit."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def raw(booking: LedgerTransaction, code: str, amount: int, currency: str = "USD") -> LedgerPosting:
    account = LedgerAccount.objects.get(code=code)
    return LedgerPosting.objects.create(transaction=booking, account=account, currency=currency, amount=amount)


def hand_made(count: int = 2) -> LedgerTransaction:
    return LedgerTransaction.objects.create(
        idempotency_key=f"hand:{uuid4()}", kind=Kind.TOP_UP, source_type="x", source_id="y", posting_count=count
    )


class TestPosting:
    def test_moves_balances(self, cast):
        credit = postings.of(postings.CUSTOMER_CREDIT, cast.acme.pk)
        before = reading.balance(postings.STRIPE)
        top_up(cast, 500)
        top_up(cast, 250)

        assert reading.balance(credit) == -750
        assert reading.balance(postings.STRIPE) - before == 750
        assert LedgerAccount.objects.get(code=credit).tenant == cast.acme
        settle()

    def test_the_same_key_with_the_same_entries_is_the_booking_that_is_there(self, cast):
        key = f"topup:{uuid4()}"

        assert top_up(cast, 500, key) == top_up(cast, 500, key)
        assert LedgerTransaction.objects.filter(idempotency_key=key).count() == 1

    def test_the_same_key_with_other_entries_is_refused(self, cast):
        key = f"topup:{uuid4()}"
        top_up(cast, 500, key)

        with pytest.raises(ConflictError):
            top_up(cast, 501, key)

    def test_a_second_currency_on_an_account_is_refused(self, cast):
        top_up(cast, 500)

        with pytest.raises(InvalidError) as caught:
            top_up(cast, 500, currency="EUR")
        assert caught.value.error_code == "billing.currency_differs"

    def test_a_booking_is_reversed_once_by_what_was_recorded(self, cast):
        entries = postings.invoice_opened(postings.Parts(cast.acme.pk, platform=300))
        invoice = uuid4()
        booking = ledger.post(
            Kind.INVOICE_OPENED,
            key=f"inv:{invoice}:open",
            source_type="invoice",
            source_id=invoice,
            entries=entries,
            currency="USD",
        )
        back = ledger.reverse(
            booking, Kind.INVOICE_VOIDED, key=f"inv:{invoice}:void", source_type="invoice", source_id=invoice
        )

        assert dict(ledger.entries_of(back)[0]) == {code: -minor for code, minor in entries}
        with pytest.raises(ConflictError):
            ledger.reverse(booking, Kind.INVOICE_VOIDED, key=f"inv:{invoice}:2", source_type="invoice", source_id="x")

    def test_fifty_at_once_are_one_booking(self, durable_db):
        from tests.support.cast import Cast

        cast, key = Cast.load(), f"topup:{uuid4()}"

        def one(_number: int) -> object:
            try:
                with platform_scope():
                    return top_up(cast, 500, key).pk
            finally:
                connection.close()

        with ThreadPoolExecutor(12) as pool:
            made = set(pool.map(one, range(50)))

        assert len(made) == 1
        with platform_scope():
            assert LedgerPosting.objects.filter(transaction__idempotency_key=key).count() == 2
            # It was committed: nobody after it finds credit that they did not give.
            booking = LedgerTransaction.objects.get(idempotency_key=key)
            ledger.reverse(booking, Kind.REFUND, key=f"{key}:back", source_type="refund", source_id="re_1")


class TestWhatPostgresRefuses:
    """Without the services: rows as anybody with a connection could write them."""

    def refused(self, act) -> str:
        def attempt() -> None:
            with transaction.atomic():
                act()
                settle()

        with pytest.raises((IntegrityError, DatabaseError)) as caught:
            attempt()
        return str(caught.value)

    def test_a_booking_that_does_not_balance(self, cast):
        top_up(cast)

        def act():
            booking = hand_made()
            raw(booking, postings.STRIPE, 5)
            raw(booking, postings.of(postings.CUSTOMER_CREDIT, cast.acme.pk), -4)

        assert "out of balance: USD 1" in self.refused(act)

    def test_a_booking_with_one_side_or_none(self, cast):
        top_up(cast)

        assert "has 0 postings" in self.refused(hand_made)
        assert "has 1 postings" in self.refused(lambda: raw(hand_made(), postings.STRIPE, 5))

    def test_a_posting_of_nothing(self, cast):
        top_up(cast)

        assert "ledger_posting_not_zero" in self.refused(lambda: raw(hand_made(), postings.STRIPE, 0))

    def test_a_posting_in_another_currency_than_its_account_s(self, cast):
        top_up(cast)

        assert "ledger_posting_currency" in self.refused(lambda: raw(hand_made(), postings.STRIPE, 5, "EUR"))

    def test_postings_that_are_added_to_a_booking_of_before_even_if_they_balance(self, cast):
        booking = top_up(cast)
        top_up(cast)

        def act():
            other = LedgerAccount.objects.create(code="A:bank", type="A", family="A:bank", currency="USD")
            third = LedgerAccount.objects.create(code="A:paypal", type="A", family="A:paypal", currency="USD")
            raw(booking, other.code, 5)
            raw(booking, third.code, -5)

        assert "has 4 postings and says that it has 2" in self.refused(act)

    @pytest.mark.parametrize("table", ["billing_ledgeraccount", "billing_ledgertransaction", "billing_ledgerposting"])
    @pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
    def test_any_change_of_what_is_written(self, cast, table, statement):
        top_up(cast)
        settle()

        def act():
            with connection.cursor() as cursor:
                cursor.execute(statement.format(table))

        assert "is refused" in self.refused(act)


class TestBalances:
    def test_are_the_same_before_and_after_a_snapshot_and_go_on_from_it(self, cast):
        credit = postings.of(postings.CUSTOMER_CREDIT, cast.acme.pk)
        top_up(cast, 500)
        before = reading.balance(credit)
        ledger.snapshot()

        assert reading.balance(credit) == before
        assert LedgerAccount.objects.get(code=credit).balance.posting_count == 0
        top_up(cast, 250)
        assert reading.balance(credit) == before - 250

    def test_a_wrong_snapshot_is_put_right_by_the_next(self, cast):
        credit = postings.of(postings.CUSTOMER_CREDIT, cast.acme.pk)
        top_up(cast, 500)
        ledger.snapshot()
        account = LedgerAccount.objects.get(code=credit)
        type(account.snapshot).objects.filter(account=account).update(amount=7)
        ledger.snapshot()

        assert reading.balance(credit) == -500

    def test_all_of_them_add_up_to_nothing(self, cast):
        top_up(cast, 500)

        assert sum(total for _, currency, total in reading.trial_balance() if currency == "USD") == 0

    def test_an_account_that_was_never_used_holds_nothing(self, cast):
        assert reading.balances([postings.of(postings.AVAILABLE, uuid4())]).popitem()[1] == 0


def test_entries_are_given_back_in_one_order(cast):
    booking = top_up(cast, 40)

    assert ledger.entries_of(booking) == (
        [Entry("A:stripe", 40), Entry(f"L:customer_credit:{cast.acme.pk}", -40)],
        "USD",
    )
