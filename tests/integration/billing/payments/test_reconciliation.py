"""Our books against the payment providers' own: what differs is found once, and passes by itself or is closed with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache

from audit.models import AuditEvent
from audit.services import Party
from billing.core import postings
from billing.core.postings import BANK, STRIPE, Kind
from billing.gateways import paypal, stripe
from billing.gateways.paypal import PayoutLine
from billing.models import Dispute, PaymentAttempt, PayoutApproval, PayoutBatch, PayoutItem, ReconciliationItem
from billing.models import ReconciliationProvider as Provider
from billing.selectors import ledger as reading
from billing.selectors import reconciliation as selectors
from billing.services import invoices, ledger, ledger_events, methods, payments, payouts, reconciliation, refunds
from billing.tasks.reconciliation import reconcile
from core import clock
from core.errors import ConflictError, InvalidError
from core.ids import uuid7
from core.money import Money
from tenants.context import platform_scope
from tests.support.cast import make_person
from tests.support.invoices import draft, usage
from tests.support.payment_providers import PAYPAL, STRIPE_KEY, Fake, client, save_card

DAY = timedelta(days=1)
BALANCE = "balance:USD"


@pytest.fixture
def own_stripe(tmp_path, settings) -> Iterator[Fake]:
    """One at which no other test has moved money."""
    fake = Fake("stripe", tmp_path).start()
    settings.STRIPE_KEY, settings.STRIPE_URL = STRIPE_KEY, fake.url
    settings.PAYPAL_CLIENT_ID = ""
    yield fake
    fake.kill()


@pytest.fixture
def ground(cast, own_stripe):
    with platform_scope():
        # What tests that commit have left in the books is no money at this provider.
        if held := reading.balance(STRIPE):
            transfer(held)
        Dispute.objects.filter(state="open").update(state="won")
        yield cast


def transfer(minor: int, key: str = "") -> None:
    """From Stripe to the bank, in our books."""
    ledger.post(
        Kind.TRANSFER,
        key=key or f"mv:{uuid7()}",
        source_type="transfer",
        source_id="tests",
        entries=postings.transfer(STRIPE, BANK, minor),
        currency="USD",
    )


def pay(ground, number: str = "4242424242424242") -> PaymentAttempt:
    """An invoice that is paid by card and booked as ever."""
    back = {"back": "http://x.example/b", "leave": "http://x.example/l"}
    setup = methods.begin_setup(ground.acme, email="bills@acme.example", **back)
    form = {"number": number, "expiry": "12/40", "cvc": "123", "choice": "save"}
    httpx.post(setup.url, data=form, trust_env=False)
    methods.finish_setup(ground.acme, setup.id, actor=Party("user", "alice"))
    attempt = payments.collect(invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 6_134)])).pk)
    assert attempt is not None
    assert attempt.state == "succeeded"
    return attempt


def strange_charge(fake: Fake) -> str:
    """Money that comes in at the provider and that nobody here knows of; the key of its booking."""
    sdk = client(fake)
    customer = sdk.v1.customers.create({}).id
    card = save_card(sdk, customer).id
    made = sdk.v1.payment_intents.create(
        {"customer": customer, "amount": 5_000, "currency": "usd", "payment_method": card, "confirm": True}
    )
    return f"pi:{made.id}:succeeded"


def item(reference: str) -> ReconciliationItem:
    return ReconciliationItem.objects.get(reference=reference)


def is_open(reference: str) -> bool:
    return ReconciliationItem.objects.filter(reference=reference, state="open").exists()


class TestStripe:
    def test_a_payment_with_its_fee_is_the_same_on_both_sides(self, ground):
        attempt = pay(ground)
        made = reconciliation.run(Provider.STRIPE)

        assert (made.error, made.compared >= 3) == ("", True)
        for reference in (f"pi:{attempt.external_id}:succeeded", f"txn:{attempt.entry}", BALANCE):
            assert not is_open(reference)

    def test_a_dispute_is_one_movement_and_its_fee_waits_for_the_decision(self, ground, own_stripe):
        attempt = pay(ground, "4000000000000259")
        [told] = [each.id for each in client(own_stripe).v1.disputes.list({"payment_intent": attempt.external_id}).data]
        reconciliation.run(Provider.STRIPE)
        assert item(f"dp:{told}:open").fault == "not_booked"

        refunds.write_dispute(attempt, stripe.gateway().dispute(told))
        reconciliation.run(Provider.STRIPE)

        assert Dispute.objects.get(external_id=told).fee_minor == 1_500
        assert item(f"dp:{told}:open").state == "settled"
        assert not is_open(BALANCE)

    def test_a_movement_that_is_not_booked_is_found_once_and_passes_when_it_is(self, ground, own_stripe):
        reference = strange_charge(own_stripe)
        for _ in range(2):
            reconciliation.run(Provider.STRIPE)

        found = item(reference)
        assert (found.fault, found.ours, found.theirs) == ("not_booked", None, Money(5_000, "USD"))
        balance = item(BALANCE)
        assert (balance.fault, balance.theirs_minor, balance.ours_minor) == ("balance", 5_000 - 175, 0)

        payment = reference.split(":")[1]
        invoice = invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 5_000)]))
        ledger_events.payment_succeeded(invoice, 5_000, payment_id=payment)
        reconciliation.run(Provider.STRIPE)
        assert item(reference).state == "settled"
        assert item(BALANCE).difference == Money(-175, "USD")

    def test_what_stripe_pays_to_our_bank_is_booked_and_so_is_what_comes_back(self, ground, own_stripe):
        pay(ground)
        sdk, before = client(own_stripe), reading.balances([STRIPE, BANK])
        [lost, kept] = [sdk.v1.payouts.create({"amount": minor, "currency": "usd"}) for minor in (1_000, 2_500)]
        own_stripe.control("payouts", payout=lost.id)
        for _ in range(2):
            reconciliation.run(Provider.STRIPE)

        after = reading.balances([STRIPE, BANK])
        assert {code: after[code] - before[code] for code in after} == {STRIPE: -2_500, BANK: 2_500}
        assert not is_open(f"mv:{kept.balance_transaction}")
        assert not is_open(f"mv:{lost.balance_transaction}")
        assert not is_open(BALANCE)

    def test_a_booking_that_the_provider_does_not_know(self, ground):
        invoice = invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 700)]))
        ledger_events.payment_succeeded(invoice, 700, payment_id="pi_made_up")
        reconciliation.run(Provider.STRIPE)

        found = item("pi:pi_made_up:succeeded")
        assert (found.fault, found.ours_minor, found.theirs) == ("not_found", 700, None)

    def test_another_amount_than_was_booked(self, ground, own_stripe):
        reference = strange_charge(own_stripe)
        invoice = invoices.open(draft(ground.acme, [usage(ground.payments.provider_id, 5_000)]))
        ledger_events.payment_succeeded(invoice, 4_990, payment_id=reference.split(":")[1])
        reconciliation.run(Provider.STRIPE)

        found = item(reference)
        assert (found.fault, found.difference) == ("amount", Money(10, "USD"))

    def test_a_provider_that_does_not_answer_changes_nothing(self, ground, own_stripe):
        reference = strange_charge(own_stripe)
        reconciliation.run(Provider.STRIPE)
        own_stripe.kill()
        made = reconciliation.run(Provider.STRIPE)

        assert made.error.startswith("billing.")
        assert made.finished_at is not None
        assert is_open(reference)

    def test_only_providers_that_are_configured_are_compared_with(self, ground, settings):
        assert [made.provider for made in reconciliation.run_due()] == ["stripe"]
        settings.STRIPE_KEY = ""
        assert reconciliation.run_due() == []


def test_the_daily_job_compares(cast, own_stripe):
    reference = strange_charge(own_stripe)
    reconcile()

    assert is_open(reference)


class TestWhatOperatorsSay:
    def test_a_difference_is_red_after_two_days_until_it_is_closed_with_a_reason(self, ground, own_stripe):
        reference = strange_charge(own_stripe)
        reconciliation.run(Provider.STRIPE)
        found = item(reference)
        assert not found.is_red

        with clock.frozen(clock.now() + 2 * DAY):
            assert found.is_red
            before = selectors.red_count()
            # The charge, its fee and the balance.
            assert before >= 3
            reconciliation.write_note(item_id=found.pk, text="Asked Stripe", operator=ground.olga)
            with pytest.raises(InvalidError):
                reconciliation.close(item_id=found.pk, reason="  ", operator=ground.olga)
            reconciliation.close(item_id=found.pk, reason="A test of the bank", operator=ground.olga)
            assert selectors.red_count() == before - 1
            with pytest.raises(ConflictError):
                reconciliation.close(item_id=found.pk, reason="Again", operator=ground.olga)

        said = AuditEvent.objects.filter(action__startswith="billing:reconciliation:", target_id=str(found.pk))
        assert sorted(said.values_list("action", "actor_label")) == [
            ("billing:reconciliation:close", ground.olga.email),
            ("billing:reconciliation:note", ground.olga.email),
        ]

    def test_what_is_closed_stays_closed_until_it_says_something_else(self, ground, own_stripe):
        strange_charge(own_stripe)
        reconciliation.run(Provider.STRIPE)
        reconciliation.close(item_id=item(BALANCE).pk, reason="Known", operator=ground.olga)
        pay(ground)
        reconciliation.run(Provider.STRIPE)
        assert item(BALANCE).state == "closed"

        transfer(100)
        reconciliation.run(Provider.STRIPE)
        assert (item(BALANCE).state, item(BALANCE).reason) == ("open", "")

    def test_operators_walk_from_the_month_close_to_the_difference(self, ground, own_stripe, signed_in):
        reference = strange_charge(own_stripe)
        with clock.frozen(clock.now() - 3 * DAY):
            reconciliation.run(Provider.STRIPE)
        found = item(reference)
        Authenticator.objects.create(user=ground.olga, type=Authenticator.Type.TOTP, data={"secret": "of the test"})
        browser = signed_in(ground.olga)

        assert "/operations/billing/reconciliation/" in page(browser, "/operations/billing/")
        assert reference in page(browser, "/operations/billing/reconciliation/")
        here = f"/operations/billing/reconciliation/{found.pk}/"
        assert "Not in our books" in page(browser, here)
        assert "Say why" in browser.post(here, {"action": "close", "reason": ""}, follow=True).content.decode()
        browser.post(here, {"action": "note", "note": "Asked Stripe"})
        closed = browser.post(here, {"action": "close", "reason": "A test"}, follow=True).content.decode()
        assert "Asked Stripe" in closed
        assert f"Closed by {ground.olga.email}" in closed
        assert "A test" in page(browser, "/operations/billing/reconciliation/")


def page(browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def over_paypal(cast, settings, paypal_fake):
    settings.PAYPAL_URL, settings.STRIPE_KEY = paypal_fake.url, ""
    settings.PAYPAL_CLIENT_ID, settings.PAYPAL_SECRET = PAYPAL["client_id"], PAYPAL["secret"]
    settings.PAYPAL_WEBHOOK_ID = PAYPAL["webhook_id"]
    cache.clear()
    with platform_scope():
        yield paypal_fake


def sent(cast, destination: str) -> PayoutItem:
    """A payout that PayPal has taken."""
    batch = PayoutBatch.objects.create(rail="paypal", month=uuid7().hex[-7:], currency="USD")
    made = PayoutItem.objects.create(
        batch=batch,
        provider_id=cast.payments.provider_id,
        destination=destination,
        minor=2_000,
        currency="USD",
    )
    ledger_events.payout_reserved(made.pk, made.provider_id, made.minor, currency="USD")
    second = make_person("Otto", f"{uuid7().hex}@marketplace.example", operator=True)
    for operator in (cast.olga, second):
        PayoutApproval.objects.create(batch=batch, operator=operator, operator_label=operator.email)
    batch.state = "approved"
    batch.save()
    assert payouts.send(batch.pk)
    return made


class TestPaypal:
    def test_items_are_compared_as_they_stand(self, cast, over_paypal):
        good, bad = sent(cast, "good@x.example"), sent(cast, "fail@x.example")
        over_paypal.control("clock", ahead=10)
        reconciliation.run(Provider.PAYPAL)
        found = item(f"po:{good.pk}")
        assert (found.fault, found.theirs_minor) == ("not_booked", -2_040)
        assert not ReconciliationItem.objects.filter(reference=f"po:{bad.pk}").exists()

        payouts.poll(PayoutBatch.objects.get(pk=good.batch_id))
        reconciliation.run(Provider.PAYPAL)
        assert item(f"po:{good.pk}").state == "settled"

    def test_a_payout_is_found_that_is_not_ours_and_one_that_paypal_does_not_have(self, cast, over_paypal):
        ours = sent(cast, "good@x.example")
        ledger_events.payout_done(ours.pk, ours.provider_id, ours.minor, currency="USD", out_of=postings.PAYPAL)
        strange = str(uuid7())
        lines = [PayoutLine(strange, "good@x.example", Money(900, "USD"))]
        told = paypal.gateway().submit(str(uuid7()), lines, note="")
        over_paypal.control("clock", ahead=10)
        PayoutBatch.objects.filter(pk=ours.batch_id).update(external_id=told)
        reconciliation.run(Provider.PAYPAL)

        PayoutBatch.objects.filter(pk=ours.batch_id).update(external_id="GONE")
        reconciliation.run(Provider.PAYPAL)

        assert (item(f"po:{strange}").fault, item(f"po:{strange}").theirs_minor) == ("not_booked", -918)
        assert (item(f"po:{ours.pk}").fault, item(f"po:{ours.pk}").ours_minor) == ("not_found", -2_000)
