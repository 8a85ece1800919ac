"""From a saved card to a paid invoice, with answers that get lost, webhooks in any order, refunds and disputes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from audit.services import Party
from billing.core.postings import AR, CUSTOMER_CREDIT, STRIPE, of
from billing.gateways import stripe as gateways
from billing.gateways.protocols import UnknownOutcomeError
from billing.models import (
    AttemptState,
    CreditTarget,
    InvoiceState,
    LedgerPosting,
    PaymentAttempt,
    PaymentMethod,
    ReceiptState,
    WebhookReceipt,
)
from billing.selectors import ledger, owing
from billing.services import credits as crediting
from billing.services import dunning, inbox, invoices, methods, payments, refunds
from billing.services.credits import LineCredit
from billing.tasks import payments as tasks
from core import clock
from core.errors import ConflictError, InvalidError, NotFoundError
from core.ids import uuid7
from marketplace.testpayments.stripe.events import signature
from tenants.context import platform_scope
from tests.support.invoices import draft, usage
from tests.support.payment_providers import STRIPE_KEY, WEBHOOK_SECRET, client

ALICE = Party("user", "alice")


@pytest.fixture
def ground(cast, settings, stripe_fake):
    settings.STRIPE_KEY, settings.STRIPE_URL = STRIPE_KEY, stripe_fake.url
    settings.STRIPE_WEBHOOK_SECRETS = [WEBHOOK_SECRET]
    # The provider keeps what earlier tests have made: it knows each run's organisation under a customer of its own.
    cast.acme.refresh_from_db()
    with platform_scope():
        yield cast


@pytest.fixture
def invoice(ground):
    return invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 6_134)]))


def enter(tenant, number: str) -> PaymentMethod:
    """What a person does on the provider's page."""
    setup = methods.begin_setup(
        tenant, email="bills@acme.example", back="http://x.example/b", leave="http://x.example/l"
    )
    form = {"number": number, "expiry": "12/40", "cvc": "123", "choice": "save"}
    answer = httpx.post(setup.url, data=form, trust_env=False)
    if "/hosted/authenticate/" in answer.headers["location"]:
        answer = httpx.post(answer.headers["location"], data={"choice": "approve"}, trust_env=False)
    assert answer.headers["location"] == f"http://x.example/b?session={setup.id}"
    saved = methods.finish_setup(tenant, setup.id, actor=ALICE)
    assert saved is not None
    return saved


def event(kind: str, subject: str, name: str = "") -> WebhookReceipt:
    """A webhook as the endpoint stores it."""
    body = {
        "id": name or f"evt_{uuid7().hex}",
        "object": "event",
        "type": kind,
        "data": {"object": {"id": subject, "object": "x"}},
    }
    text = json.dumps(body).encode()
    known = gateways.gateway().verified(text, signature(WEBHOOK_SECRET, text, int(time.time())))
    return inbox.receive("stripe", known, text)


def intents_of(attempt: PaymentAttempt, fake) -> list:
    found = client(fake).v1.payment_intents.list({"customer": attempt.customer, "limit": 100}).data
    return [each for each in found if each.metadata["attempt"] == str(attempt.pk)]


class TestCards:
    def test_a_card_is_saved_by_the_providers_page_and_the_first_one_is_charged(self, ground):
        first = enter(ground.acme, "4242424242424242")
        second = enter(ground.acme, "5555555555554444")

        assert (str(first), first.is_default, second.is_default) == ("Visa ending in 4242", True, False)
        methods.make_default(second, actor=ALICE)
        assert methods.default_of(ground.acme.pk) == second

    def test_a_page_that_was_left_saves_nothing_and_anothers_page_is_unknown(self, ground):
        ours = methods.begin_setup(
            ground.acme, email="a@x.example", back="http://x.example/b", leave="http://x.example/l"
        )
        assert methods.finish_setup(ground.acme, ours.id, actor=ALICE) is None
        with pytest.raises(NotFoundError):
            methods.finish_setup(ground.globex, ours.id, actor=ALICE)

    def test_a_removed_card_is_forgotten_at_the_provider_too(self, ground):
        card = enter(ground.acme, "4242424242424242")
        methods.remove(card, actor=ALICE)
        methods.remove(card, actor=ALICE)

        assert methods.of_tenant(ground.acme) == []
        customer = methods.customer_of(ground.acme, email="")
        assert card.external_id not in [each.id for each in gateways.gateway().cards(customer)]


class TestCollecting:
    def test_an_invoice_is_paid_and_the_ledger_has_the_gross_and_the_fee(self, ground, invoice):
        enter(ground.acme, "4242424242424242")

        attempt = payments.collect(invoice.pk)

        invoice.refresh_from_db()
        assert (attempt.state, invoice.state, invoice.paid_minor) == (AttemptState.SUCCEEDED, InvoiceState.PAID, 6_134)
        assert ledger.of_invoice(invoice.pk, of(AR, ground.acme.pk)) == 0
        assert ledger.of_invoice(invoice.pk, STRIPE) == 6_134 - 208
        assert payments.collect(invoice.pk) is None

    @pytest.mark.parametrize("fault", ["drop_answer", "fail_after"])
    def test_an_unknown_outcome_is_asked_for_under_the_same_key_and_charged_once(
        self, ground, invoice, stripe_fake, fault
    ):
        enter(ground.acme, "4242424242424242")
        stripe_fake.switch(fault, method="POST", path="/v1/payment_intents", times=3)
        with pytest.raises(UnknownOutcomeError):
            payments.collect(invoice.pk)
        attempt = PaymentAttempt.objects.get(invoice=invoice)
        assert attempt.state == AttemptState.ASKING

        assert payments.collect(invoice.pk) == attempt  # no second one beside it

        assert len(intents_of(attempt, stripe_fake)) == 1
        assert PaymentAttempt.objects.get(invoice=invoice).state == AttemptState.SUCCEEDED

    def test_after_a_day_the_providers_list_is_asked_and_not_the_key(self, ground, invoice, stripe_fake):
        enter(ground.acme, "4242424242424242")
        stripe_fake.switch("drop_answer", method="POST", path="/v1/payment_intents", times=3)
        with pytest.raises(UnknownOutcomeError):
            payments.collect(invoice.pk)
        attempt = PaymentAttempt.objects.get(invoice=invoice)

        with clock.frozen(clock.now() + timedelta(days=2)):
            assert payments.resolve(attempt.pk).state == AttemptState.SUCCEEDED

    def test_what_never_arrived_is_known_to_be_nothing_after_a_day(self, ground, invoice, stripe_fake):
        enter(ground.acme, "4242424242424242")
        stripe_fake.switch("refuse", method="POST", path="/v1/payment_intents", times=3)
        with pytest.raises(UnknownOutcomeError):
            payments.collect(invoice.pk)
        attempt = PaymentAttempt.objects.get(invoice=invoice)

        with clock.frozen(clock.now() + timedelta(days=2)):
            assert payments.resolve(attempt.pk).state == AttemptState.CANCELLED

    def test_a_declined_card_leaves_the_invoice_open_and_another_card_pays_it(self, ground, invoice):
        enter(ground.acme, "4000000000000341")
        refused = payments.collect(invoice.pk)
        assert (refused.state, refused.code) == (AttemptState.DECLINED, "generic_decline")

        methods.make_default(enter(ground.acme, "4242424242424242"), actor=ALICE)

        assert payments.collect(invoice.pk).state == AttemptState.SUCCEEDED

    def test_a_card_that_asks_its_holder_is_confirmed_on_the_banks_page(self, ground, invoice):
        enter(ground.acme, "4000002760003184")
        attempt = payments.collect(invoice.pk)
        assert attempt.state == AttemptState.NEEDS_HOLDER

        url = payments.ask_holder(attempt, back="http://x.example/back")
        httpx.post(url, data={"choice": "approve"}, trust_env=False)

        assert payments.resolve(attempt.pk).state == AttemptState.SUCCEEDED
        with pytest.raises(ConflictError):
            payments.ask_holder(PaymentAttempt.objects.get(pk=attempt.pk), back="http://x.example/back")

    def test_what_waits_for_its_holder_is_cancelled_before_another_attempt(self, ground, invoice):
        enter(ground.acme, "4000002760003184")
        waiting = payments.collect(invoice.pk)
        methods.make_default(enter(ground.acme, "4242424242424242"), actor=ALICE)

        assert payments.collect(invoice.pk).state == AttemptState.SUCCEEDED
        assert PaymentAttempt.objects.get(pk=waiting.pk).state == AttemptState.CANCELLED

    def test_without_a_card_nothing_is_tried(self, invoice):
        with pytest.raises(InvalidError):
            payments.collect(invoice.pk)

        assert not PaymentAttempt.objects.filter(invoice=invoice).exists()


class TestDunning:
    def test_the_days_of_the_schedule_are_tried_once_each_and_then_it_is_given_up(self, ground, invoice):
        enter(ground.acme, "4000000000000341")
        for day in (0, 0, 1, 2, 3, 5, 7, 13, 14, 20, 29):
            with clock.frozen(invoice.opened_at + timedelta(days=day, hours=1)):
                dunning.dun(invoice.pk)
                assert (owing.stops_at(ground.acme.pk) <= clock.now()) == (day >= 14)

        tried = PaymentAttempt.objects.filter(invoice=invoice).order_by("step")
        assert [attempt.step for attempt in tried] == [0, 1, 3, 7, 14]
        with clock.frozen(invoice.opened_at + timedelta(days=30)):
            dunning.dun(invoice.pk)
        invoice.refresh_from_db()
        assert invoice.state == InvoiceState.UNCOLLECTIBLE

    def test_days_that_were_missed_are_not_made_up_for(self, ground, invoice):
        enter(ground.acme, "4000000000000341")
        with clock.frozen(invoice.opened_at + timedelta(days=4)):
            dunning.dun(invoice.pk)
            dunning.dun(invoice.pk)

        assert [attempt.step for attempt in PaymentAttempt.objects.filter(invoice=invoice)] == [3]


class TestWebhooks:
    def test_an_event_is_stored_once_and_a_hundred_repeats_pay_nothing_twice(self, ground, invoice):
        enter(ground.acme, "4242424242424242")
        attempt = payments.collect(invoice.pk)
        before = LedgerPosting.objects.filter(transaction__invoice_id=invoice.pk).count()

        for _ in range(100):
            inbox.handle(event("payment_intent.succeeded", attempt.external_id, "evt_the_same").pk)

        assert WebhookReceipt.objects.filter(event_id="evt_the_same").count() == 1
        assert LedgerPosting.objects.filter(transaction__invoice_id=invoice.pk).count() == before

    def test_an_event_that_comes_before_the_answer_finds_its_attempt(self, ground, invoice, stripe_fake):
        enter(ground.acme, "4242424242424242")
        stripe_fake.switch("drop_answer", method="POST", path="/v1/payment_intents", times=3)
        with pytest.raises(UnknownOutcomeError):
            payments.collect(invoice.pk)
        attempt = PaymentAttempt.objects.get(invoice=invoice)
        [intent] = intents_of(attempt, stripe_fake)

        # An old event of the same payment changes nothing: what is written is how it stands.
        for kind in ("payment_intent.succeeded", "payment_intent.created"):
            assert inbox.handle(event(kind, intent.id).pk).state == ReceiptState.HANDLED

        attempt.refresh_from_db()
        assert (attempt.state, attempt.external_id) == (AttemptState.SUCCEEDED, intent.id)

    def test_an_event_that_breaks_five_times_is_given_up_and_holds_up_no_other(self, ground):
        poison = event("charge.dispute.created", "dp_nobody_knows")
        for _ in range(6):
            inbox.handle(poison.pk)

        poison.refresh_from_db()
        assert (poison.state, poison.attempts) == (ReceiptState.DEAD, 5)
        assert inbox.handle(event("customer.updated", "cus_x").pk).state == ReceiptState.HANDLED

    @pytest.mark.parametrize("age", [0, 301])
    def test_the_endpoint_takes_what_is_signed_and_fresh_and_nothing_else(self, ground, client, age):
        body = json.dumps(
            {"id": f"evt_{uuid7().hex}", "object": "event", "type": "x.y", "data": {"object": {"id": "z"}}}
        ).encode()
        signed = signature(WEBHOOK_SECRET, body, int(time.time()) - age)
        flipped = body.replace(b"x.y", b"x.z")

        def post(content):
            return client.post(
                "/webhooks/stripe/", content, content_type="application/json", headers={"stripe-signature": signed}
            )

        assert post(body).status_code == (200 if age == 0 else 400)
        assert post(flipped).status_code == 400


class TestMoneyBack:
    def paid(self, ground, number="4242424242424242"):
        invoice = invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 6_000)]))
        enter(ground.acme, number)
        return invoice, payments.collect(invoice.pk)

    def credit(self, invoice, minor):
        line = invoice.lines.get(kind="usage")
        crediting.issue(
            invoice,
            [LineCredit(line.pk, minor)],
            reason="Wrong",
            to=CreditTarget.BALANCE,
            key=str(uuid7()),
            actor=ALICE,
        )

    def test_a_refund_is_one_for_its_key_and_never_more_than_was_paid(self, ground):
        invoice, attempt = self.paid(ground)
        self.credit(invoice, 1_000)

        first = refunds.refund(attempt, 1_000, key=f"cn:{invoice.pk}", reason="Wrong", actor=ALICE)
        again = refunds.refund(attempt, 1_000, key=f"cn:{invoice.pk}", reason="Wrong", actor=ALICE)

        assert (first.pk, first.state) == (again.pk, "succeeded")
        assert ledger.balance(of(CUSTOMER_CREDIT, ground.acme.pk)) == 0
        with pytest.raises(InvalidError):
            refunds.refund(attempt, 5_001, key="more", reason="Wrong", actor=ALICE)

    def test_a_refund_that_fails_later_is_credit_again(self, ground):
        invoice, attempt = self.paid(ground, "4000000000005126")
        self.credit(invoice, 1_000)
        row = refunds.refund(attempt, 1_000, key=f"cn:{invoice.pk}", reason="Wrong", actor=ALICE)

        inbox.handle(event("refund.failed", row.external_id).pk)

        row.refresh_from_db()
        attempt.refresh_from_db()
        assert (row.state, attempt.refunded_minor) == ("failed", 0)
        assert ledger.balance(of(CUSTOMER_CREDIT, ground.acme.pk)) == -1_000

    @pytest.mark.parametrize(("word", "state"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
    def test_a_dispute_is_followed_to_its_end_in_any_order(self, ground, stripe_fake, word, state):
        _, attempt = self.paid(ground, "4000000000000259")
        sdk = client(stripe_fake)
        [dispute] = sdk.v1.disputes.list({"payment_intent": attempt.external_id}).data
        sdk.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": word}})

        for kind in ("charge.dispute.closed", "charge.dispute.created", "charge.dispute.funds_withdrawn"):
            assert inbox.handle(event(kind, dispute.id).pk).state == ReceiptState.HANDLED

        [row] = attempt.disputes.all()
        assert (row.state, row.minor) == (state, 6_000)

    def test_what_nobody_told_of_a_dispute_is_asked_for(self, ground, stripe_fake):
        _, attempt = self.paid(ground, "4000000000000259")
        sdk = client(stripe_fake)
        [dispute] = sdk.v1.disputes.list({"payment_intent": attempt.external_id}).data
        inbox.handle(event("charge.dispute.created", dispute.id).pk)
        [row] = attempt.disputes.all()
        assert row.due_at == datetime.fromtimestamp(dispute.evidence_details.due_by, UTC)
        sdk.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
        open_before = refunds.ask_again()

        tasks.resolve_dispute.run(dispute_id=str(row.pk))

        assert attempt.disputes.get().state == "won"
        assert refunds.ask_again() == open_before - 1
