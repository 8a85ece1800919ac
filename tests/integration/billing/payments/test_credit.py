"""Credit that is paid ahead: bought once, shown as it is, bought by itself within its bounds, and sent back to its card."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest

from access.limits import MONEY_SCALE, Period
from billing.core.postings import BAD_DEBT, CUSTOMER_CREDIT, STRIPE, of
from billing.gateways import stripe as gateways
from billing.gateways.protocols import DisputeResult, UnknownOutcomeError
from billing.models import AttemptState, PaymentAttempt, Prepayment, PriceVersion, Refund, RefundState
from billing.selectors import credit, ledger
from billing.services import inbox, invoices, issuing, methods, payments, prepaid, refunds, topups
from billing.services.prepaid import Terms
from billing.tasks import payments as tasks
from calls.models import Period as Month
from calls.services import periods
from core import clock
from core.errors import ConflictError, InvalidError
from core.ids import uuid7
from gateway.admission.budgets import Subject
from gateway.services import limits
from gateway.services.entries import tenant_entry
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope
from tests.integration.billing.payments.test_paying import ALICE, enter, event, ground  # noqa: F401 - a fixture
from tests.support.calls import add_call
from tests.support.invoices import draft, usage

GOOD, ASKS, DECLINES = "4242424242424242", "4000002760003184", "4000000000000341"


@pytest.fixture
def acme(ground):  # noqa: F811
    enter(ground.acme, GOOD)
    return ground.acme


def buy(tenant, minor=5_000, once=""):
    return topups.buy(tenant, minor, once=once or str(uuid7()), actor=ALICE)


def held(tenant):
    return -ledger.balance(of(CUSTOMER_CREDIT, tenant.pk))


def call(cast, *, count=1, price="0.02"):
    """Paid calls of acme, now."""
    with platform_scope():
        version = PriceVersion.objects.get(server=cast.payments, tool="", tenant=None)
    with tenant_scope(cast.acme):
        periods.open_ahead()
        for _ in range(count):
            add_call(
                cast.acme,
                server_id=cast.payments.pk,
                server_name="payments",
                provider_id=cast.payments.provider_id,
                price_version_id=version.pk,
                billable=True,
                quantity=Decimal(1),
                price=Decimal(price),
                tool="refund",
            )


class TestBuying:
    def test_a_card_is_charged_and_the_ledger_has_the_credit_and_the_fee(self, acme):
        before = ledger.balance(STRIPE)
        attempt = buy(acme)
        assert (attempt.state, attempt.invoice) == (AttemptState.SUCCEEDED, None)
        assert held(acme) == 5_000
        assert ledger.balance(STRIPE) - before == 5_000 - attempt.fee_minor
        assert attempt.fee_minor > 0

    def test_a_form_that_is_sent_twice_buys_once(self, acme):
        assert buy(acme, once="form").pk == buy(acme, once="form").pk
        assert held(acme) == 5_000
        with pytest.raises(InvalidError):
            buy(acme, 499)
        with pytest.raises(InvalidError):
            buy(acme, 500_001)

    def test_without_a_card_nothing_is_bought(self, ground):  # noqa: F811
        with pytest.raises(InvalidError, match="no card"):
            buy(ground.acme)

    def test_an_answer_that_is_lost_is_asked_for_under_the_same_key_and_nothing_else_begins(self, acme, stripe_fake):
        stripe_fake.switch("drop_answer", method="POST", path="/v1/payment_intents", times=3)
        with pytest.raises(UnknownOutcomeError):
            buy(acme, once="lost")
        [attempt] = credit.top_ups(acme)
        assert (attempt.state, held(acme)) == (AttemptState.ASKING, 0)
        with pytest.raises(ConflictError, match="already"):
            buy(acme, once="another")

        tasks.resolve_attempt.run(attempt_id=str(attempt.pk))

        assert credit.top_ups(acme).get().state == AttemptState.SUCCEEDED
        assert held(acme) == 5_000

    def test_after_a_day_the_provider_s_list_says_what_became_of_it(self, acme, stripe_fake):
        stripe_fake.switch("drop_answer", method="POST", path="/v1/payment_intents", times=3)
        with pytest.raises(UnknownOutcomeError):
            buy(acme)
        with clock.frozen(clock.now() + timedelta(days=2)):
            assert payments.resolve(credit.top_ups(acme).get().pk).state == AttemptState.SUCCEEDED
        assert held(acme) == 5_000

    def test_a_bank_that_asks_for_the_holder_gives_credit_when_they_have_confirmed(self, ground):  # noqa: F811
        enter(ground.acme, ASKS)
        attempt = buy(ground.acme)
        assert (attempt.state, held(ground.acme)) == (AttemptState.NEEDS_HOLDER, 0)
        # Another one begins: the first cannot be confirmed beside it any more.
        second = buy(ground.acme)
        attempt.refresh_from_db()
        assert (attempt.state, second.state) == (AttemptState.CANCELLED, AttemptState.NEEDS_HOLDER)

    def test_a_webhook_counts_once_in_any_order(self, acme):
        attempt = buy(acme)
        for _ in range(2):
            inbox.handle(event("payment_intent.succeeded", attempt.external_id).pk)
        assert held(acme) == 5_000

    def test_the_receipt_is_told_once(self, acme, cast):
        attempt = buy(acme)
        for _ in range(2):
            tasks.tell_top_up.run(attempt_id=str(attempt.pk))
        with tenant_scope(acme):
            [told] = Notification.objects.filter(kind="billing.credit", recipient_id=cast.alice.pk)
        assert told.title == "Receipt: 50.00 USD of credit"
        assert told.url == f"/o/acme/billing/credit/receipts/{attempt.pk}/"

    def test_an_invoice_uses_the_credit_and_the_card_pays_the_rest(self, acme, ground):  # noqa: F811
        buy(acme)
        invoice = invoices.open(draft(acme, [usage(ground.payments.provider_id, 6_000)]))
        assert (invoice.due_minor, held(acme)) == (1_000, 0)


class TestSendingBack:
    def test_what_is_unused_goes_back_once_and_counts_as_gone_at_once(self, acme, ground):  # noqa: F811
        buy(acme, 2_000)
        last = buy(acme, 1_000)
        call(ground, count=5)
        assert credit.refundable(acme) == 2_990
        with pytest.raises(InvalidError):
            topups.send_back(acme, 2_991, once="back", actor=ALICE)

        rows = topups.send_back(acme, 1_500, once="back", actor=ALICE)
        assert topups.send_back(acme, 1_500, once="back", actor=ALICE) == rows
        assert [(row.minor, row.attempt_id == last.pk) for row in rows] == [(1_000, True), (500, False)]
        assert credit.standing(acme).available.minor == 1_490

        # An invoice that is opened meanwhile does not use what is on its way.
        invoice = invoices.open(draft(acme, [usage(ground.payments.provider_id, 6_000)]))
        assert invoice.paid_minor == 1_500
        for row in rows:
            tasks.resolve_refund.run(refund_id=str(row.pk))
        assert {row.state for row in Refund.objects.filter(tenant=acme)} == {RefundState.SUCCEEDED}
        assert held(acme) == 0

    def test_a_refund_that_fails_is_credit_again(self, acme):
        buy(acme)
        [row] = topups.send_back(acme, 5_000, once="back", actor=ALICE)
        done = refunds.resolve(row.pk)
        assert (done.state, held(acme)) == (RefundState.SUCCEEDED, 0)
        told = gateways.gateway().refund_result(done.external_id)
        refunds.write(row.pk, type(told)(told.id, told.charge, told.minor, "failed", told.entry))
        assert (held(acme), credit.refundable(acme)) == (5_000, 5_000)

    def test_a_dispute_holds_the_credit_and_takes_what_is_left_when_it_is_lost(self, acme, ground):  # noqa: F811
        attempt = buy(acme)
        before, stripe = ledger.balance(BAD_DEBT), ledger.balance(STRIPE)

        def told(state, fee=0):
            return DisputeResult("dp_credit", attempt.external_id, 5_000, "USD", state, "fraudulent", fee)

        refunds.write_dispute(attempt, told("open"))
        assert (held(acme), credit.standing(acme).available.minor, credit.refundable(acme)) == (5_000, 0, 0)
        invoice = invoices.open(draft(acme, [usage(ground.payments.provider_id, 6_000)]))
        assert invoice.paid_minor == 0
        for _ in range(2):
            refunds.write_dispute(attempt, told("lost", 1_500))
        assert (held(acme), ledger.balance(BAD_DEBT) - before) == (0, 0)
        assert ledger.balance(STRIPE) == stripe - 6_500

    def test_what_was_used_of_disputed_credit_is_our_loss(self, acme, ground):  # noqa: F811
        attempt = buy(acme)
        before = ledger.balance(BAD_DEBT)
        invoices.open(draft(acme, [usage(ground.payments.provider_id, 4_000)]))
        refunds.write_dispute(
            attempt, DisputeResult("dp_used", attempt.external_id, 5_000, "USD", "lost", "fraudulent", 0)
        )
        assert (held(acme), ledger.balance(BAD_DEBT) - before) == (0, 4_000)


class TestPayingAhead:
    def rule(self, tenant):
        found = [each for each in tenant_entry(tenant.pk).limits if each.period is Period.EVER]
        return found[0] if found else None

    def room(self, tenant):
        """What calls may still cost, in minor units, as a gateway that asks now is told."""
        rule = self.rule(tenant)
        subject = Subject(tenant.pk, tenant.schema_name, None, None, "")
        used = limits.spent(subject, rule, None)
        return Decimal(rule.amount - used) * 100 / MONEY_SCALE

    def test_gateways_hold_the_credit_as_a_cap_that_moves_with_it(self, acme, ground):  # noqa: F811
        assert self.rule(acme) is None
        prepaid.change(acme, Terms(True), actor=ALICE)
        assert (self.rule(acme).hard, self.room(acme)) == (True, 0)
        revision = tenant_entry(acme.pk).revision
        buy(acme)
        assert tenant_entry(acme.pk).revision > revision
        assert self.room(acme) == 5_000
        call(ground, count=10)
        assert self.room(acme) == 4_980
        topups.send_back(acme, 4_000, once="back", actor=ALICE)
        assert self.room(acme) == 980
        prepaid.change(acme, Terms(False), actor=ALICE)
        assert self.rule(acme) is None

    def test_a_month_that_is_invoiced_leaves_limit_and_count_as_they_were(self, acme, ground):  # noqa: F811
        prepaid.change(acme, Terms(True), actor=ALICE)
        buy(acme)
        call(ground, count=10)
        rule, room = self.rule(acme), self.room(acme)
        with tenant_scope(acme):
            month = Month.objects.earliest("id")
            with clock.frozen(month.ends_at + timedelta(hours=7)):
                periods.start_closing()
                period = periods.close(month.pk)
        with clock.frozen(month.ends_at + timedelta(hours=8)):
            assert issuing.issue(acme, period)
            assert held(acme) == 4_980
            assert (self.rule(acme), self.room(acme)) == (rule, room)
            issuing.issue(acme, period)
            assert (self.rule(acme), self.room(acme)) == (rule, room)

    def test_the_count_begins_again_before_it_is_too_large_to_be_exact(self, acme, ground):  # noqa: F811
        prepaid.change(acme, Terms(True), actor=ALICE)
        buy(acme)
        Prepayment.objects.filter(tenant=acme).update(counted=Decimal("299999.99"))
        call(ground)
        before = self.rule(acme)
        with tenant_scope(acme):
            month = Month.objects.earliest("id")
            with clock.frozen(month.ends_at + timedelta(hours=7)):
                periods.start_closing()
                period = periods.close(month.pk)
        with clock.frozen(month.ends_at + timedelta(hours=8)):
            issuing.issue(acme, period)
            after = self.rule(acme)
            assert (before.limit_id, after.limit_id, self.room(acme)) == ("prepaid-0", "prepaid-1", 4_998)


class TestByItself:
    TERMS = Terms(True, threshold=1_000, amount=2_000, daily=4_500)

    def test_credit_is_bought_below_the_threshold_within_the_limit_of_a_day(self, acme, cast):
        prepaid.change(acme, self.TERMS, actor=ALICE)
        assert prepaid.check(acme).minor == 2_000
        assert (held(acme), prepaid.check(acme)) == (2_000, None)
        for _ in range(2):
            topups.send_back(acme, credit.refundable(acme), once=str(uuid7()), actor=ALICE)
            for row in Refund.objects.filter(tenant=acme, state=RefundState.ASKING):
                refunds.resolve(row.pk)
            prepaid.check(acme)
        assert credit.top_ups(acme).filter(automatic=True, state=AttemptState.SUCCEEDED).count() == 2
        with tenant_scope(acme):
            [told] = Notification.objects.filter(kind="billing.credit", recipient_id=cast.alice.pk)
        assert told.title == "Credit runs low"
        assert "no more is bought by itself today" in told.body
        with clock.frozen(clock.now() + timedelta(days=1)):
            assert prepaid.check(acme).state == AttemptState.SUCCEEDED

    def test_a_card_that_is_declined_is_not_tried_again_that_day_and_people_are_told(self, ground):  # noqa: F811
        enter(ground.acme, DECLINES)
        prepaid.change(ground.acme, self.TERMS, actor=ALICE)
        # The provider remembers the names that other tests have used on their days.
        with clock.frozen(clock.now() + timedelta(days=3)):
            attempt = prepaid.check(ground.acme)
            assert attempt.state == AttemptState.DECLINED
            assert prepaid.check(ground.acme) is None
        tasks.tell_top_up.run(attempt_id=str(attempt.pk))
        with tenant_scope(ground.acme):
            titles = {row.title for row in Notification.objects.filter(kind="billing.credit")}
        assert titles == {"Credit could not be bought"}

    def test_it_is_off_unless_somebody_wants_it(self, acme):
        assert prepaid.check(acme) is None
        prepaid.change(acme, Terms(True), actor=ALICE)
        assert prepaid.check(acme) is None
        assert not PaymentAttempt.objects.filter(tenant=acme).exists()

    @pytest.mark.parametrize(
        "terms",
        [
            Terms(True, amount=2_000, daily=2_000),
            Terms(True, threshold=1_000, amount=2_000),
            Terms(True, threshold=1_000, amount=2_000, daily=1_999),
            Terms(True, threshold=1_000, amount=1, daily=100),
            Terms(True, threshold=-1),
        ],
    )
    def test_terms_that_mean_nothing_are_refused(self, acme, terms):
        with pytest.raises(InvalidError):
            prepaid.change(acme, terms, actor=ALICE)

    def test_without_a_card_people_are_told_once(self, ground, cast):  # noqa: F811
        prepaid.change(ground.acme, self.TERMS, actor=ALICE)
        for _ in range(2):
            tasks.check_credit.run(tenant_id=str(ground.acme.pk))
        with tenant_scope(ground.acme):
            [told] = Notification.objects.filter(kind="billing.credit", recipient_id=cast.alice.pk)
        assert "Save a card" in told.body


class TestPages:
    URL = "/o/acme/billing/credit/"

    def test_an_owner_buys_credit_sees_it_and_reads_the_receipt(self, acme, signed_in, cast):
        browser = signed_in(cast.alice)
        page = browser.get(self.URL).content.decode()
        once = re.search(r'name="once" value="([^"]+)"', page)[1]
        for _ in range(2):
            page = browser.post(f"{self.URL}buy/", {"amount": "25.00", "once": once}, follow=True).content.decode()
        assert "25.00 USD of credit are there." in page
        assert held(acme) == 2_500
        receipt = browser.get(re.search(r'href="([^"]*/receipts/[^"]*)"', page)[1]).content.decode()
        assert "This is no invoice" in receipt

        refused = browser.post(f"{self.URL}buy/", {"amount": "1", "once": str(uuid7())})
        assert refused.status_code == 422
        assert "5.00 USD to 5000.00 USD" in refused.content.decode()

    def test_paying_ahead_is_said_on_the_page(self, acme, signed_in, cast):
        browser = signed_in(cast.alice)
        form = {"is_prepaid": "on", "threshold": "10", "amount": "20", "daily": "5"}
        refused = browser.post(f"{self.URL}use/", form)
        assert (refused.status_code, "At most in a day" in refused.content.decode()) == (422, True)
        page = browser.post(f"{self.URL}use/", form | {"daily": "50"}, follow=True).content.decode()
        assert "You pay ahead" in page
        row = Prepayment.objects.get(tenant=acme)
        assert (row.is_prepaid, row.threshold_minor, row.amount_minor, row.daily_minor) == (True, 1_000, 2_000, 5_000)

    def test_unused_credit_is_sent_back_from_its_page(self, acme, signed_in, cast):
        buy(acme)
        browser = signed_in(cast.alice)
        page = browser.get(f"{self.URL}send-back/").content.decode()
        once = re.search(r'name="once" value="([^"]+)"', page)[1]
        page = browser.post(f"{self.URL}send-back/", {"amount": "50.00", "once": once}, follow=True).content.decode()
        assert "50.00 USD are on their way back" in page
        assert methods.default_of(acme.pk) is not None
