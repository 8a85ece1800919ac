"""The fake Stripe, asked by the provider's own SDK."""

from __future__ import annotations

import httpx
import pytest
import stripe

from tests.support.gateways import serving
from tests.support.payment_providers import WEBHOOK_SECRET, Fake, client, save_card
from tests.support.processes import wait_until
from tests.support.webhook_receivers import Receiver


@pytest.fixture
def sdk(stripe_fake: Fake) -> stripe.StripeClient:
    return client(stripe_fake)


@pytest.fixture
def customer(sdk) -> str:
    return sdk.v1.customers.create({"email": "bills@acme.example", "metadata": {"tenant": "acme"}}).id


def charge(sdk, customer, number="4242424242424242", minor=6134, **options):
    method = save_card(sdk, customer, number)
    asked = {"customer": customer, "amount": minor, "currency": "usd", "payment_method": method.id, "confirm": True}
    return sdk.v1.payment_intents.create({**asked, "off_session": True}, options or None)


class TestPayments:
    def test_a_saved_card_is_charged_and_the_balance_has_the_amount_less_the_fee(self, sdk, customer):
        intent = charge(sdk, customer)

        found = sdk.v1.payment_intents.retrieve(intent.id, {"expand": ["latest_charge.balance_transaction"]})
        entry = found.latest_charge.balance_transaction
        assert (found.status, entry.amount, entry.fee, entry.net) == ("succeeded", 6134, 208, 5926)

    @pytest.mark.parametrize(
        ("number", "code", "decline"),
        [
            ("4000000000000341", "card_declined", "generic_decline"),
            ("4000002760003184", "authentication_required", "authentication_required"),
        ],
    )
    def test_a_decline_is_an_error_and_leaves_the_intent_that_it_names(self, sdk, customer, number, code, decline):
        with pytest.raises(stripe.CardError) as refused:
            charge(sdk, customer, number)

        error = refused.value.error
        assert (error.code, error.decline_code) == (code, decline)
        kept = sdk.v1.payment_intents.retrieve(error.payment_intent.id)
        assert (kept.status, kept.last_payment_error.code) == ("requires_payment_method", code)

    def test_a_card_that_is_declined_at_once_cannot_be_attached(self, sdk, customer):
        with pytest.raises(stripe.CardError):
            save_card(sdk, customer, "4000000000000002")

    def test_a_key_asked_again_has_one_answer_and_with_other_parameters_none(self, sdk, customer):
        method = save_card(sdk, customer).id
        asked = {"customer": customer, "amount": 500, "currency": "usd", "payment_method": method, "confirm": True}
        first = sdk.v1.payment_intents.create(asked, {"idempotency_key": f"once-{customer}"})
        again = sdk.v1.payment_intents.create(asked, {"idempotency_key": f"once-{customer}"})

        assert first.id == again.id
        with pytest.raises(stripe.IdempotencyError):
            sdk.v1.payment_intents.create({**asked, "amount": 501}, {"idempotency_key": f"once-{customer}"})

    @pytest.mark.parametrize("fault", ["drop_answer", "fail_after"])
    def test_a_lost_answer_is_asked_for_again_and_one_intent_is_made(self, stripe_fake, sdk, customer, fault):
        method = save_card(sdk, customer).id
        stripe_fake.switch(fault, method="POST", path="/v1/payment_intents")
        asked = {"customer": customer, "amount": 700, "currency": "usd", "payment_method": method, "confirm": True}

        intent = sdk.v1.payment_intents.create(asked, {"idempotency_key": f"lost-{customer}"})

        assert [each.id for each in sdk.v1.payment_intents.list({"customer": customer}).data] == [intent.id]

    def test_parameters_that_the_api_does_not_know_are_refused(self, sdk):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            sdk.v1.customers.create({"e_mail": "x@example.com"})

        assert refused.value.code == "parameter_unknown"

    def test_what_was_answered_survives_a_killed_process(self, tmp_path):
        fake = Fake("stripe", tmp_path).start()
        made = client(fake).v1.customers.create({"email": "kept@example.com"})
        fake.kill()
        fake.start()
        try:
            assert client(fake).v1.customers.retrieve(made.id).email == "kept@example.com"
        finally:
            fake.kill()


class TestMoneyBack:
    def test_refunds_never_exceed_what_was_paid(self, sdk, customer):
        intent = charge(sdk, customer, minor=1000)
        sdk.v1.refunds.create({"payment_intent": intent.id, "amount": 700})

        with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
            sdk.v1.refunds.create({"payment_intent": intent.id, "amount": 301})
        sdk.v1.refunds.create({"payment_intent": intent.id, "amount": 300})
        with pytest.raises(stripe.InvalidRequestError, match="already been refunded"):
            sdk.v1.refunds.create({"payment_intent": intent.id})

    @pytest.mark.parametrize(
        ("word", "status", "net"), [("winning_evidence", "won", 0), ("losing_evidence", "lost", -2500)]
    )
    def test_a_dispute_takes_the_amount_and_a_fee_until_it_is_won(self, sdk, customer, word, status, net):
        intent = charge(sdk, customer, "4000000000000259", 1000)
        dispute = sdk.v1.disputes.list({"payment_intent": intent.id}).data[0]

        decided = sdk.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": word}})

        assert decided.status == status
        assert sum(entry.net for entry in decided.balance_transactions) == net


class TestSavingACard:
    def session(self, sdk, customer):
        asked = {"mode": "setup", "customer": customer, "currency": "usd"}
        urls = {
            "success_url": "http://127.0.0.1:9/back?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://127.0.0.1:9/no",
        }
        return sdk.v1.checkout.sessions.create({**asked, **urls})

    def enter(self, url, number):
        form = {"number": number, "expiry": "12 / 40", "cvc": "123", "name": "Alice", "choice": "save"}
        return httpx.post(url, data=form, follow_redirects=False, trust_env=False)

    def test_the_hosted_page_saves_a_card_and_leads_back(self, sdk, customer):
        session = self.session(sdk, customer)

        answer = self.enter(session.url, "4242 4242 4242 4242")

        assert answer.headers["location"] == f"http://127.0.0.1:9/back?session={session.id}"
        done = sdk.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent.payment_method"]})
        assert (done.status, done.setup_intent.payment_method.card.last4) == ("complete", "4242")
        assert done.setup_intent.payment_method.customer == customer

    def test_a_card_whose_holder_was_asked_is_charged_without_the_holder(self, sdk, customer):
        session = self.session(sdk, customer)
        asks = self.enter(session.url, "4000002500003155").headers["location"]
        assert (
            httpx.post(asks, data={"choice": "approve"}, trust_env=False)
            .headers["location"]
            .startswith("http://127.0.0.1:9/")
        )
        done = sdk.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})

        asked = {
            "customer": customer,
            "amount": 900,
            "currency": "usd",
            "payment_method": done.setup_intent.payment_method,
        }
        assert sdk.v1.payment_intents.create({**asked, "confirm": True, "off_session": True}).status == "succeeded"

    def test_a_declined_card_is_said_on_the_page_and_the_next_one_is_taken(self, sdk, customer):
        session = self.session(sdk, customer)

        refused = self.enter(session.url, "4000000000000002")

        assert (refused.status_code, "declined" in refused.text) == (402, True)
        assert self.enter(session.url, "4242424242424242").status_code == 303

    def test_the_holder_comes_back_to_a_payment_that_asks(self, sdk, customer):
        method = save_card(sdk, customer, "4000002760003184").id
        asked = {"customer": customer, "amount": 900, "currency": "usd", "payment_method": method, "confirm": True}
        intent = sdk.v1.payment_intents.create({**asked, "return_url": "http://127.0.0.1:9/paid"})
        assert intent.status == "requires_action"

        httpx.post(intent.next_action.redirect_to_url.url, data={"choice": "approve"}, trust_env=False)

        assert sdk.v1.payment_intents.retrieve(intent.id).status == "succeeded"


class TestConnect:
    def test_a_provider_is_onboarded_paid_and_partly_reversed(self, sdk, customer):
        charge(sdk, customer, minor=9000)
        account = sdk.v1.accounts.create({"type": "express", "email": "pay@initech.example"})
        asked = {"amount": 700, "currency": "usd", "destination": account.id, "metadata": {"payout_item": "1"}}
        with pytest.raises(stripe.InvalidRequestError, match="capabilities"):
            sdk.v1.transfers.create(asked)
        urls = {"refresh_url": "http://127.0.0.1:9/again", "return_url": "http://127.0.0.1:9/done"}
        link = sdk.v1.account_links.create({"account": account.id, "type": "account_onboarding", **urls})
        httpx.post(link.url, data={"choice": "done"}, trust_env=False)

        paid = sdk.v1.transfers.create(asked, {"idempotency_key": f"payout:{account.id}"})
        sdk.v1.transfers.reversals.create(paid.id, {"amount": 200})

        assert sdk.v1.accounts.retrieve(account.id).payouts_enabled
        assert sdk.v1.transfers.retrieve(paid.id).amount_reversed == 200


class TestWebhooks:
    def test_events_are_signed_tried_again_and_repeated(self, tmp_path):
        receiver = Receiver(statuses=[500])
        with serving(receiver) as receiver.port:
            fake = Fake("stripe", tmp_path, webhook=receiver.url).start()
            try:
                fake.switch("repeat_webhook")
                client(fake).v1.customers.create({"email": "x@example.com"})
                wait_until(lambda: len(receiver.got) >= 3, "a refused, a taken and a repeated delivery")
            finally:
                fake.kill()

        events = [
            stripe.Webhook.construct_event(each.body, each.headers["stripe-signature"], WEBHOOK_SECRET)  # type: ignore[no-untyped-call]
            for each in receiver.got
        ]
        assert {event.type for event in events} == {"customer.created"}
        assert len({event.id for event in events}) == 1
