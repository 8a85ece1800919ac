"""What an organisation owes for long: what its pages say, whom it is told, and what the gateway holds of it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator

from billing.core.postings import CUSTOMER_CREDIT, of
from billing.gateways.protocols import UnknownOutcomeError
from billing.models import CreditTarget, InvoiceState, Refund, RefundState
from billing.selectors import ledger, owing
from billing.services import credits as crediting
from billing.services import dunning, invoices, payments, refunds
from billing.services.credits import LineCredit
from billing.tasks import payments as tasks
from core import clock
from core.errors import InvalidError
from core.ids import uuid7
from gateway.services.entries import tenant_entry
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope
from tests.integration.billing.payments.test_paying import ALICE, enter, ground  # noqa: F401 - a fixture
from tests.support.four_eyes import void, write_off
from tests.support.invoices import draft, usage

DAY = timedelta(days=1)


def billed(cast, minor=6_000):
    return invoices.open(draft(cast.acme, [usage(cast.payments.provider_id, minor)]))


class TestStopping:
    def test_gateways_are_told_from_when_on_and_that_it_is_over(self, ground):  # noqa: F811
        assert tenant_entry(ground.acme.pk).unpaid_from is None
        invoice = billed(ground)
        owes = tenant_entry(ground.acme.pk)
        assert owes.unpaid_from == invoice.opened_at + 14 * DAY

        invoices.settle(invoice, 6_000, key="paid")
        paid = tenant_entry(ground.acme.pk)
        assert paid.unpaid_from is None
        assert paid.revision > owes.revision

    def test_a_void_invoice_stops_nothing_and_the_oldest_of_several_does(self, ground):  # noqa: F811
        first = billed(ground)
        assert owing.oldest(ground.acme.pk) == first
        before = tenant_entry(ground.acme.pk)
        void(first)
        after = tenant_entry(ground.acme.pk)
        assert after.unpaid_from is None
        assert after.revision > before.revision

    def test_what_was_given_up_still_stops_and_can_be_paid_by_a_person(self, ground):  # noqa: F811
        invoice = billed(ground)
        enter(ground.acme, "4242424242424242")
        write_off(invoice)
        assert tenant_entry(ground.acme.pk).unpaid_from is not None
        assert payments.collect(invoice.pk, step=30) is None

        attempt = payments.collect(invoice.pk)

        assert attempt is not None
        assert (attempt.state, attempt.minor) == ("succeeded", 6_000)
        invoice.refresh_from_db()
        assert invoice.state == InvoiceState.PAID
        assert tenant_entry(ground.acme.pk).unpaid_from is None


class TestTelling:
    def told(self, cast):
        with tenant_scope(cast.acme):
            rows = Notification.objects.filter(kind="billing.payment", recipient_id=cast.alice.pk)
            return [(row.title, row.body, row.url) for row in rows.order_by("created_at")]

    def test_without_a_card_those_who_pay_are_told_once_on_each_day_of_the_schedule(self, ground):  # noqa: F811
        invoice = billed(ground)
        for days in (0, 0, 7, 7, 14):
            with clock.frozen(invoice.opened_at + days * DAY):
                assert dunning.dun(invoice.pk) is None
        told = self.told(ground)
        assert {title for title, _, _ in told} == {f"There is no card to pay {invoice.number} with"}
        assert {url for _, _, url in told} == {"/o/acme/billing/payment-methods/"}
        first, seventh, last = [body for _, body, _ in told]
        assert "60.00 USD are due. Save a card" in first
        assert "60.00 USD have been due for 7 days." in seventh
        assert f"are stopped on {invoice.opened_at + 14 * DAY:%d %B %Y}" in seventh
        assert "are stopped until it is paid" in last


class TestPages:
    HOME = "/o/acme/billing/payments/"

    def page(self, browser, url, moment=None):
        if moment is None:
            return browser.get(url, follow=True).content.decode()
        with clock.frozen(moment):
            return browser.get(url, follow=True).content.decode()

    @pytest.fixture
    def invoice(self, cast, settings, stripe_fake):
        settings.STRIPE_URL = stripe_fake.url
        with platform_scope():
            return billed(cast)

    def aged(self, invoice, days):
        """An open invoice never changes what it says; its age is moved by the clock instead."""
        return clock.frozen(invoice.opened_at + days * DAY)

    def test_after_a_week_every_page_says_so_and_offers_to_pay(self, cast, signed_in, invoice):
        browser = signed_in(cast.alice)
        assert "An invoice is not paid" not in self.page(browser, self.HOME)
        with self.aged(invoice, 8):
            browser = signed_in(cast.alice)
            page = self.page(browser, self.HOME)
            assert "An invoice is not paid" in page
            assert "60.00 USD" in page
            assert "Save a card" in page
        with self.aged(invoice, 15):
            browser = signed_in(cast.alice)
            assert "Tools with a price are stopped" in self.page(browser, "/o/acme/keys/")

    def test_who_may_not_see_bills_is_told_nothing(self, cast, signed_in, invoice):
        with self.aged(invoice, 8):
            page = self.page(signed_in(cast.bob), "/o/acme/keys/")
        assert "An invoice is not paid" not in page

    def test_an_invoice_is_paid_from_its_page(self, cast, signed_in, invoice, settings, ground):  # noqa: F811
        url = f"/o/acme/billing/invoices/{invoice.pk}/"
        browser = signed_in(cast.alice)
        assert "Save a card to pay" in self.page(browser, url)
        with platform_scope():
            enter(cast.acme, "4242424242424242")
        page = self.page(browser, url)
        pay = re.search(r'action="([^"]*/pay/)"', page)[1]
        assert "Pay now" in page
        assert "60.00 USD are paid" in browser.post(pay, follow=True).content.decode()
        assert "Pay now" not in self.page(browser, url)


class TestBackToTheCard:
    def credit(self, invoice, minor, key=""):
        line = invoice.lines.get(kind="usage")
        return crediting.issue(
            invoice,
            [LineCredit(line.pk, minor)],
            reason="Wrong",
            to=CreditTarget.CARD,
            key=key or str(uuid7()),
            actor=ALICE,
        )

    def paid(self, cast):
        invoice = billed(cast)
        enter(cast.acme, "4242424242424242")
        return invoice, payments.collect(invoice.pk)

    def test_a_credit_note_to_the_card_sends_what_was_paid_back_once(self, ground):  # noqa: F811
        invoice, attempt = self.paid(ground)
        key = str(uuid7())
        note = self.credit(invoice, 1_000, key)
        assert self.credit(invoice, 1_000, key) == note

        [row] = Refund.objects.filter(attempt=attempt)
        assert (row.minor, row.state, row.reason) == (1_000, RefundState.ASKING, "Wrong")
        for _ in range(2):
            tasks.resolve_refund.run(refund_id=str(row.pk))

        row.refresh_from_db()
        attempt.refresh_from_db()
        assert (row.state, attempt.refunded_minor) == (RefundState.SUCCEEDED, 1_000)
        assert ledger.balance(of(CUSTOMER_CREDIT, ground.acme.pk)) == 0

    def test_operators_say_on_the_invoices_page_that_it_goes_to_the_card(self, ground, signed_in):  # noqa: F811
        invoice, attempt = self.paid(ground)
        Authenticator.objects.create(user=ground.olga, type=Authenticator.Type.TOTP, data={"secret": "sealed-secret"})
        line = invoice.lines.get(kind="usage")
        form = {"action": "credit", "reason": "Wrong", "key": str(uuid7()), f"credit-{line.pk}": "700", "to": "card"}
        signed_in(ground.olga).post(f"/operations/billing/invoices/{invoice.pk}/", form)
        assert [row.minor for row in Refund.objects.filter(attempt=attempt)] == [700]

    def test_what_was_not_paid_yet_goes_back_to_no_card(self, ground):  # noqa: F811
        invoice = billed(ground)
        self.credit(invoice, 1_000)
        assert not Refund.objects.filter(attempt__invoice=invoice).exists()

    def test_a_refund_without_an_answer_is_found_and_asked_for_again(self, ground, stripe_fake):  # noqa: F811
        invoice, attempt = self.paid(ground)
        self.credit(invoice, 1_000)
        [row] = Refund.objects.filter(attempt=attempt)
        stripe_fake.switch("drop_answer", method="POST", path="/v1/refunds", times=3)
        with pytest.raises(UnknownOutcomeError):
            refunds.resolve(row.pk)
        others = refunds.sweep()
        with clock.frozen(clock.now() + timedelta(minutes=3)):
            assert refunds.sweep() == others + 1

        # Keys are forgotten by then: the provider's list says that it was sent.
        with clock.frozen(clock.now() + 2 * DAY):
            assert refunds.resolve(row.pk).state == RefundState.SUCCEEDED
        with pytest.raises(InvalidError):
            refunds.refund(attempt, 5_001, key="more", reason="Wrong", actor=ALICE)
