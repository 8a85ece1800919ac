"""From draft to document to settled, with the ledger beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from audit.services import SYSTEM
from billing.core.postings import AR, BAD_DEBT, CUSTOMER_CREDIT, PENDING, PLATFORM_FEE, PROMO_CREDIT, of
from billing.models import CreditTarget, InvoiceState, LedgerPosting
from billing.selectors import ledger
from billing.services import credits as crediting
from billing.services import invoices, ledger_events
from billing.services.credits import LineCredit
from core import clock
from core.errors import ConflictError, InvalidError
from tenants.context import platform_scope
from tests.support.four_eyes import void
from tests.support.invoices import MONTH, draft, plan, usage


@pytest.fixture
def ground(cast):
    with platform_scope():
        yield cast


@pytest.fixture
def provider(ground):
    return ground.payments.provider_id


def balance(code: str, invoice) -> int:
    return ledger.of_invoice(invoice.pk, code)


def opened(ground, *lines):
    return invoices.open(draft(ground.acme, lines))


class TestDrafts:
    def test_a_draft_that_is_made_again_has_the_lines_of_the_last_time(self, ground, provider):
        first = draft(ground.acme, [usage(provider, 1_000), plan(2_900)])
        again = draft(ground.acme, [usage(provider, 1_500)])

        assert again.pk == first.pk
        assert [line.minor for line in again.lines.all()] == [1_500, 0]
        assert again.total_minor == 1_500

    def test_a_month_without_lines_leaves_no_draft(self, ground, provider):
        from billing.services import drafts

        draft(ground.acme, [usage(provider, 1_000)])

        assert drafts.keep(ground.acme, MONTH, drafts.compose(ground.acme, MONTH, [])) is None

    def test_tax_of_the_settings_is_a_line_on_the_rounded_net(self, ground, provider, settings):
        settings.BILLING_TAX_RATES = ["DE=19"]
        settings.BILLING_SELLER = settings.BILLING_SELLER | {"country": "DE"}

        made = draft(ground.acme, [usage(provider, 1_003), usage(provider, 1_000, tool="other")])

        assert (made.net_minor, made.tax_minor, made.total_minor) == (2_003, 381, 2_384)
        assert made.lines.last().label == "Tax DE 19 %"

    def test_what_grew_suddenly_waits_for_an_operator(self, ground, provider):
        invoices.open(draft(ground.acme, [usage(provider, 100)], month=date(2026, 9, 1)))
        doubtful = draft(ground.acme, [usage(provider, 1_001)])

        with pytest.raises(ConflictError, match="10 times the mean"):
            invoices.open(doubtful)
        assert invoices.open(doubtful, despite_warnings=True).state == InvoiceState.OPEN

    def test_too_many_lines_wait_for_an_operator(self, ground, provider):
        lines = [usage(provider, 1, tool=f"tool_{n}") for n in range(200)]

        assert draft(ground.acme, lines).warnings[0]["code"] == "many_lines"


class TestOpening:
    def test_it_is_numbered_dated_and_says_who_sells_to_whom(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))

        assert invoice.number.startswith("MKT-INV-")
        assert invoice.buyer["legal_name"] == "Acme"
        assert invoice.due_at - invoice.opened_at == timedelta(days=14)
        assert invoice.due.minor == 1_000

    def test_twice_is_once(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))

        assert invoices.open(invoice).number == invoice.number
        assert balance(of(AR, ground.acme.pk), invoice) == 1_000

    def test_the_ledger_says_who_earns_what(self, ground, provider):
        invoice = opened(
            ground, usage(provider, 1_001), plan(2_900), replace(plan(-300, kind="credit", key="in"), platform_minor=0)
        )

        assert invoice.total_minor == 3_601
        assert balance(of(AR, ground.acme.pk), invoice) == 3_601
        assert balance(of(PENDING, provider), invoice) == -701
        assert balance(PLATFORM_FEE, invoice) == -300
        assert balance(PROMO_CREDIT, invoice) == 300
        assert (
            sum(LedgerPosting.objects.filter(transaction__invoice_id=invoice.pk).values_list("amount", flat=True)) == 0
        )

    def test_an_invoice_of_nothing_is_paid_at_once(self, ground, provider):
        invoice = opened(ground, usage(provider, 0))

        assert invoice.state == InvoiceState.PAID

    def test_credit_of_the_organisation_pays_first(self, ground, provider):
        ledger_events.topped_up(ground.acme.pk, 400, currency="USD", payment_id="pi_top")
        invoice = opened(ground, usage(provider, 1_000))

        assert (invoice.paid_minor, invoice.due.minor) == (400, 600)
        assert ledger.balance(of(CUSTOMER_CREDIT, ground.acme.pk)) == 0


class TestSettling:
    def test_a_payment_counts_once_and_takes_no_more_than_is_due(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))

        assert invoices.settle(invoice, 400, key="pi:1")[1] == 400
        assert invoices.settle(invoice, 400, key="pi:1")[1] == 400
        paid, taken = invoices.settle(invoice, 700, key="pi:2")

        assert (taken, paid.state, paid.paid_minor) == (600, InvoiceState.PAID, 1_000)

    def test_a_key_means_one_payment(self, ground, provider):
        invoices.settle(opened(ground, usage(provider, 1_000)), 1, key="pi:1")
        other = invoices.open(draft(ground.globex, [usage(provider, 1_000)]))

        with pytest.raises(ConflictError):
            invoices.settle(other, 1, key="pi:1")

    def test_drafts_take_no_payment(self, ground, provider):
        with pytest.raises(ConflictError):
            invoices.settle(draft(ground.acme, [usage(provider, 1)]), 1, key="pi:1")

    def test_a_void_invoice_leaves_nothing_in_the_ledger_and_its_month_is_billed_again(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))
        void(invoice)

        assert balance(of(PENDING, provider), invoice) == balance(of(AR, ground.acme.pk), invoice) == 0
        assert draft(ground.acme, [usage(provider, 900)]).pk != invoice.pk

    def test_what_was_paid_in_part_is_not_voided(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))
        invoices.settle(invoice, 1, key="pi:1")

        with pytest.raises(ConflictError, match="Money has moved"):
            invoices.void(invoice, actor=SYSTEM, reason="wrong")

    def test_a_written_off_invoice_leaves_no_provider_money_and_may_still_be_paid(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))
        with clock.frozen(invoice.give_up_at):
            invoice = invoices.write_off(invoice, actor=SYSTEM, reason="30 days")

        assert invoice.state == InvoiceState.UNCOLLECTIBLE
        assert balance(of(PENDING, provider), invoice) == 0
        assert balance(BAD_DEBT, invoice) == 300
        assert invoices.settle(invoice, 1_000, key="pi:1")[0].state == InvoiceState.PAID
        assert balance(of(PENDING, provider), invoice) == -700


class TestCredits:
    def test_a_credit_of_an_unpaid_invoice_lowers_what_is_due(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))
        note = crediting.issue(invoice, whole(invoice, 250), reason="Outage", key="k1", actor=SYSTEM)

        invoice.refresh_from_db()
        assert (note.owed_minor, note.returned_minor, invoice.due.minor) == (250, 0, 750)
        assert balance(of(PENDING, provider), invoice) == -525
        assert balance(of(AR, ground.acme.pk), invoice) == 750

    def test_credits_in_any_steps_end_at_nothing_in_the_ledger(self, ground, provider, settings):
        settings.BILLING_TAX_RATES = ["DE=19"]
        settings.BILLING_SELLER = settings.BILLING_SELLER | {"country": "DE"}
        invoice = opened(ground, usage(provider, 1_001))
        for step, minor in enumerate((333, 333, 1, 334)):
            crediting.issue(invoice, whole(invoice, minor), reason="Outage", key=f"k{step}", actor=SYSTEM)

        invoice.refresh_from_db()
        assert invoice.state == InvoiceState.PAID
        assert invoice.credited_minor == invoice.total_minor == 1_191
        left = ledger.families_of_invoice(invoice.pk, [AR, PENDING, PLATFORM_FEE, "L:tax"])
        assert set(left.values()) <= {0}

    def test_a_credit_of_a_paid_invoice_is_the_customer_s(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))
        invoices.settle(invoice, 1_000, key="pi:1")
        ledger_events.payment_succeeded(invoice, 1_000, payment_id="pi_1")
        note = crediting.issue(invoice, whole(invoice, 400), reason="Outage", key="k1", actor=SYSTEM)

        assert (note.target, note.returned_minor) == (CreditTarget.BALANCE, 400)
        assert ledger.balance(of(CUSTOMER_CREDIT, ground.acme.pk)) == -400

    def test_issued_again_it_is_the_same_note(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))
        first = crediting.issue(invoice, whole(invoice, 400), reason="Outage", key="k1", actor=SYSTEM)

        assert crediting.issue(invoice, whole(invoice, 400), reason="Outage", key="k1", actor=SYSTEM).pk == first.pk

    def test_more_than_is_left_is_refused(self, ground, provider):
        invoice = opened(ground, usage(provider, 1_000))
        crediting.issue(invoice, whole(invoice, 600), reason="Outage", key="k1", actor=SYSTEM)

        with pytest.raises(InvalidError, match="left"):
            crediting.issue(invoice, whole(invoice, 401), reason="Outage", key="k2", actor=SYSTEM)
        assert crediting.left_of(invoice)[invoice.lines.first().pk] == 400

    def test_lines_of_others_are_not_credited(self, ground, provider):
        invoice, other = opened(ground, usage(provider, 100)), draft(ground.globex, [usage(provider, 100)])

        with pytest.raises(InvalidError, match="not of this invoice"):
            crediting.issue(invoice, whole(other, 100), reason="Outage", key="k1", actor=SYSTEM)


def whole(invoice, minor: int) -> list[LineCredit]:
    return [LineCredit(invoice.lines.first().pk, minor)]


def test_an_invoice_that_is_due_is_past_due_after_its_day(ground, provider):
    invoice = opened(ground, usage(provider, 1_000))

    assert not invoice.is_past_due
    with clock.frozen(invoice.due_at + timedelta(seconds=1)):
        assert invoice.is_past_due
