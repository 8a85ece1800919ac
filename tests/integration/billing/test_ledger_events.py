"""What events leave in the ledger, in the orders in which they can come."""

from __future__ import annotations

from uuid import uuid4

import pytest

from billing.core import postings
from billing.models import LedgerTransaction
from billing.selectors import ledger as reading
from billing.services import ledger_events
from core.errors import ConflictError
from tests.support.money import opened_invoice, paid


@pytest.fixture
def provider(cast):
    return cast.payments.provider


@pytest.fixture
def invoice(cast, provider):
    """100.00 of usage, 70.00 of it the provider's; a plan of 29.00; tax of 24.51."""
    return opened_invoice(cast.acme, {provider.pk: (7000, 3000)}, subscription=2900, tax=2451)


def left(invoice, *families: str) -> dict[str, int]:
    """What its bookings left, by family."""
    found = reading.families_of_invoice(invoice.pk, families or postings.SINGLE | postings.TENANTS | postings.PROVIDERS)
    return {postings.family_of(code): minor for code, minor in found.items()}


def credit(invoice, shares, platform, **more):
    return ledger_events.credit_noted(invoice, note_id=uuid4(), shares=shares, platform=platform, **more)


class TestAnInvoice:
    def test_is_owed_in_full(self, invoice):
        assert ledger_events.due(invoice) == 15351

    def test_is_owed_no_more_when_it_is_paid_and_what_is_too_much_is_credit(self, invoice):
        ledger_events.payment_succeeded(invoice, 16000, payment_id="pi_1")

        assert ledger_events.due(invoice) == 0
        assert left(invoice, postings.CUSTOMER_CREDIT) == {postings.CUSTOMER_CREDIT: -649}

    def test_told_of_a_payment_again_books_nothing_more(self, invoice):
        first = ledger_events.payment_succeeded(invoice, 15351, payment_id="pi_2")

        assert ledger_events.payment_succeeded(invoice, 15351, payment_id="pi_2") == first
        assert left(invoice, postings.STRIPE) == {postings.STRIPE: 15351}

    def test_that_was_voided_has_left_nothing(self, invoice):
        ledger_events.invoice_voided(invoice)

        assert left(invoice) == {}
        assert ledger_events.invoice_voided(invoice) is not None

    def test_on_which_money_moved_is_not_voided(self, invoice):
        ledger_events.payment_succeeded(invoice, 1, payment_id="pi_3")

        with pytest.raises(ConflictError):
            ledger_events.invoice_voided(invoice)

    def test_that_is_written_off_leaves_no_provider_money(self, invoice, provider):
        ledger_events.written_off(invoice)

        assert ledger_events.pending_of(invoice.pk, provider.pk) == 0
        assert left(invoice, postings.AR, postings.BAD_DEBT) == {postings.BAD_DEBT: 8351}

    def test_that_was_paid_in_part_and_written_off_leaves_that_part(self, invoice, provider):
        ledger_events.payment_succeeded(invoice, 5117, payment_id="pi_4")
        ledger_events.written_off(invoice)

        assert ledger_events.due(invoice) == 0
        assert ledger_events.pending_of(invoice.pk, provider.pk) == 7000 - 4667

    def test_that_is_paid_after_all_is_as_if_it_had_never_been_written_off(self, invoice, provider):
        ledger_events.written_off(invoice)
        ledger_events.recovered(invoice)
        ledger_events.payment_succeeded(invoice, 15351, payment_id="pi_5")

        assert ledger_events.pending_of(invoice.pk, provider.pk) == 7000
        assert left(invoice, postings.AR, postings.BAD_DEBT) == {}


class TestACreditNote:
    def test_before_the_payment_lowers_what_is_due(self, invoice, provider):
        credit(invoice, {provider.pk: 700}, 300)

        assert ledger_events.due(invoice) == 14351
        assert ledger_events.pending_of(invoice.pk, provider.pk) == 6300

    def test_after_the_payment_gives_credit_and_the_refund_takes_it(self, invoice, provider, cast):
        paid(invoice)
        credit(invoice, {provider.pk: 700}, 300)
        owed = postings.of(postings.CUSTOMER_CREDIT, cast.acme.pk)
        assert reading.of_invoice(invoice.pk, owed) == -1000
        ledger_events.refunded(cast.acme.pk, 1000, currency="USD", refund_id=f"re_{uuid4()}", invoice_id=invoice.pk)

        assert reading.of_invoice(invoice.pk, owed) == 0
        assert left(invoice, postings.STRIPE) == {postings.STRIPE: 14351}

    def test_after_the_release_is_taken_from_what_the_provider_has(self, invoice, provider):
        paid(invoice)
        ledger_events.released(invoice, provider.pk, 6800, part="main")
        credit(invoice, {provider.pk: 700}, 300)

        assert ledger_events.pending_of(invoice.pk, provider.pk) == 0
        assert reading.of_invoice(invoice.pk, postings.of(postings.AVAILABLE, provider.pk)) == -6300

    def test_of_a_plan_takes_first_what_is_not_earned_yet(self, invoice):
        ledger_events.month_earned(invoice, 1000, subscription_id=uuid4(), month="2026-11", at=invoice.opened_at)
        credit(invoice, {}, 0, subscription=2400)

        assert left(invoice, postings.DEFERRED_SUBSCRIPTION, postings.SUBSCRIPTION) == {postings.SUBSCRIPTION: -500}


class TestADispute:
    def test_that_is_won_changes_nothing(self, invoice):
        paid(invoice)
        before = left(invoice)
        ledger_events.dispute_opened(invoice, 15351, dispute_id="dp_1")
        assert ledger_events.disputed(invoice.pk) == 15351
        ledger_events.dispute_won(invoice, 15351, dispute_id="dp_1")

        assert left(invoice) == before

    def test_that_is_lost_costs_everybody_their_part_and_the_platform_the_rest(self, invoice, provider):
        paid(invoice)
        ledger_events.dispute_opened(invoice, 15351, dispute_id="dp_2")
        ledger_events.dispute_lost(invoice, 15351, dispute_id="dp_2", fee=1500)

        assert ledger_events.pending_of(invoice.pk, provider.pk) == 0
        assert left(invoice, postings.DISPUTED, postings.PLATFORM_FEE) == {}
        assert left(invoice, postings.BAD_DEBT, postings.DISPUTE_COST, postings.STRIPE) == {
            postings.BAD_DEBT: 5351,
            postings.DISPUTE_COST: 1500,
            postings.STRIPE: -1500,
        }

    def test_over_a_part_costs_that_part(self, invoice, provider):
        paid(invoice)
        ledger_events.dispute_opened(invoice, 5117, dispute_id="dp_3")
        ledger_events.dispute_lost(invoice, 5117, dispute_id="dp_3")

        assert ledger_events.pending_of(invoice.pk, provider.pk) == 7000 - 2333

    def test_is_held_against_what_the_provider_already_had(self, invoice, provider):
        paid(invoice)
        ledger_events.released(invoice, provider.pk, 7000, part="main")
        ledger_events.dispute_opened(invoice, 15351, dispute_id="dp_4")
        ledger_events.dispute_lost(invoice, 15351, dispute_id="dp_4")

        assert reading.of_invoice(invoice.pk, postings.of(postings.AVAILABLE, provider.pk)) == 0


def test_an_event_that_moves_nothing_books_nothing(cast):
    invoice = opened_invoice(cast.acme, {})

    assert LedgerTransaction.objects.filter(invoice_id=invoice.pk).count() == 0
