"""From a paid invoice to money that a provider has: releases, batches, approvals, rails and statements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.db import DatabaseError, connection, transaction

from billing.core import postings
from billing.gateways import rails
from billing.gateways.rails import ItemState, ItemStatus
from billing.models import EarningRelease, PayoutApproval, PayoutBatch, PayoutItem, ProviderAccount, Statement
from billing.selectors import ledger as reading
from billing.services import earnings, ledger_events, payout_statements, payouts, provider_accounts
from catalog.models import Provider
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership
from tests.support.cast import make_person
from tests.support.money import Counter, opened_invoice, paid, payable

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
PAYDAY = datetime(2027, 4, 10, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _platform(db):
    with platform_scope(), clock.frozen(START):
        yield


@pytest.fixture
def provider(cast) -> Provider:
    return Provider.objects.select_related("tenant").get(pk=cast.payments.provider_id)


@pytest.fixture
def rail(monkeypatch) -> Counter:
    counter = Counter()
    monkeypatch.setitem(rails._makers, "paypal", lambda: counter)
    return counter


@pytest.fixture
def second(cast):
    return make_person("Otto", "otto@marketplace.example", operator=True)


def account(provider, family: str) -> int:
    """What a provider has, in minor units."""
    return -reading.balance(postings.of(family, provider.pk))


def earned(cast, provider, minor: int = 7000):
    invoice = paid(opened_invoice(cast.acme, {provider.pk: (minor, 3000)}))
    earnings.plan(invoice)
    return invoice


def ready(cast, provider, minor: int = 7000) -> PayoutBatch:
    """A batch that waits for approval. The account is so old that nothing is reserved."""
    payable(provider)
    ProviderAccount.objects.filter(provider=provider).update(active_since=START - timedelta(days=400))
    earned(cast, provider, minor)
    with clock.frozen(PAYDAY):
        earnings.release_due()
        return payouts.build()[0]


def approved(cast, provider, second, minor: int = 7000) -> PayoutBatch:
    batch = ready(cast, provider, minor)
    payouts.approve(batch_id=batch.pk, operator=cast.olga)
    return payouts.approve(batch_id=batch.pk, operator=second)


class TestReleases:
    def test_wait_for_the_payment_and_then_for_the_holdback(self, cast, provider):
        payable(provider)
        invoice = opened_invoice(cast.acme, {provider.pk: (7000, 3000)})
        assert earnings.plan(invoice) == 0
        earned(cast, provider)

        with clock.frozen(START + timedelta(days=14, seconds=-1)):
            assert earnings.release_due() == 0
        with clock.frozen(START + timedelta(days=14)):
            assert earnings.release_due() == 1
        assert account(provider, postings.AVAILABLE) == 6300

    def test_keep_a_tenth_of_a_new_provider_s_share_for_ninety_days(self, cast, provider):
        payable(provider)
        earned(cast, provider)
        with clock.frozen(START + timedelta(days=90)):
            earnings.release_due()

        assert account(provider, postings.AVAILABLE) == 7000
        assert account(provider, postings.PENDING) == 0

    def test_happen_once_however_often_the_job_runs(self, cast, provider):
        payable(provider)
        invoice = earned(cast, provider)
        with clock.frozen(START + timedelta(days=91)):
            for _ in range(3):
                earnings.plan(invoice)
                earnings.release_due()

        assert account(provider, postings.AVAILABLE) == 7000

    def test_are_of_what_credit_notes_have_left(self, cast, provider):
        payable(provider)
        invoice = earned(cast, provider)
        ledger_events.credit_noted(invoice, note_id=invoice.pk, shares={provider.pk: 2000}, platform=0)
        with clock.frozen(START + timedelta(days=14)):
            earnings.release_due()

        assert account(provider, postings.AVAILABLE) == 4500

    def test_wait_while_a_bank_looks_into_the_payment(self, cast, provider):
        payable(provider)
        invoice = earned(cast, provider)
        ledger_events.dispute_opened(invoice, 100, dispute_id="dp_x")
        with clock.frozen(START + timedelta(days=20)):
            assert earnings.release_due() == 0
            assert EarningRelease.objects.filter(invoice=invoice, held_for=earnings.DISPUTED).exists()
            ledger_events.dispute_won(invoice, 100, dispute_id="dp_x")
            assert earnings.release_due() == 1

    def test_never_come_from_what_an_organisation_paid_to_itself(self, provider):
        payable(provider)
        earnings.plan(paid(opened_invoice(provider.tenant, {provider.pk: (7000, 3000)})))
        with clock.frozen(START + timedelta(days=400)):
            assert earnings.release_due() == 0

        assert account(provider, postings.AVAILABLE) == 0

    def test_are_planned_by_the_job_that_looks_for_paid_invoices(self, cast, provider):
        invoice = paid(opened_invoice(cast.acme, {provider.pk: (7000, 3000)}))
        earnings.plan_due()

        assert EarningRelease.objects.filter(invoice=invoice).count() == 2


class TestABatch:
    def test_reserves_what_it_pays(self, cast, provider):
        batch = ready(cast, provider)

        assert [(item.minor, item.state) for item in batch.items.all()] == [(7000, "reserved")]
        assert (account(provider, postings.AVAILABLE), account(provider, postings.TRANSIT)) == (0, 7000)

    def test_is_made_once_a_month(self, cast, provider):
        ready(cast, provider)
        with clock.frozen(PAYDAY + timedelta(days=1)):
            assert payouts.build() == []

    def test_is_not_made_before_the_day_of_payouts(self, cast, provider):
        payable(provider)
        earned(cast, provider, 9000)
        with clock.frozen(PAYDAY - timedelta(days=1)):
            earnings.release_due()
            assert payouts.build() == []

    def test_leaves_out_less_than_the_minimum(self, cast, provider):
        payable(provider)
        earned(cast, provider, 2000)
        with clock.frozen(PAYDAY):
            earnings.release_due()
            assert payouts.build() == []
        assert account(provider, postings.AVAILABLE) == 1800

    @pytest.mark.parametrize(
        "changes",
        [
            {"state": "suspended"},
            {"known_at": None},
            {"destination_verified_at": None},
            {"rests_until": PAYDAY + timedelta(hours=1)},
        ],
    )
    def test_leaves_out_who_may_not_be_paid(self, cast, provider, changes):
        payable(provider)
        earned(cast, provider)
        ProviderAccount.objects.filter(provider=provider).update(**changes)
        with clock.frozen(PAYDAY):
            earnings.release_due()
            assert payouts.build() == []


class TestApproval:
    def test_takes_two_operators(self, cast, provider, second):
        batch = ready(cast, provider)
        assert payouts.approve(batch_id=batch.pk, operator=cast.olga).state == "waiting"
        with pytest.raises(ConflictError):
            payouts.approve(batch_id=batch.pk, operator=cast.olga)

        assert payouts.approve(batch_id=batch.pk, operator=second).state == "approved"

    def test_is_for_operators_who_earn_nothing_by_it(self, cast, provider, second):
        batch = ready(cast, provider)
        with pytest.raises(ForbiddenError):
            payouts.approve(batch_id=batch.pk, operator=cast.alice)
        Membership.objects.create(tenant=provider.tenant, user=second, role="member")
        with pytest.raises(ForbiddenError):
            payouts.approve(batch_id=batch.pk, operator=second)

    def test_a_rejected_batch_gives_everything_back_and_another_can_be_made(self, cast, provider):
        batch = ready(cast, provider)
        payouts.reject(batch_id=batch.pk, operator=cast.olga, reason="The month is not reconciled")

        assert account(provider, postings.AVAILABLE) == 7000
        with clock.frozen(PAYDAY + timedelta(days=1)):
            (again,) = payouts.build()
        assert (again.number, account(provider, postings.TRANSIT)) == (2, 7000)

    def test_postgres_refuses_what_goes_round_it(self, cast, provider, second):
        batch = ready(cast, provider)
        item = batch.items.get()
        PayoutApproval.objects.create(batch=batch, operator=cast.olga, operator_label="olga")
        for act in (
            lambda: PayoutBatch.objects.filter(pk=batch.pk).update(state="approved"),
            lambda: PayoutBatch.objects.filter(pk=batch.pk).update(state="sending"),
            lambda: PayoutBatch.objects.create(rail="paypal", month="2027-05", currency="USD", state="approved"),
            lambda: PayoutItem.objects.filter(pk=item.pk).update(minor=1),
            lambda: PayoutItem.objects.filter(pk=item.pk).update(destination="other@thief.example"),
            lambda: PayoutItem.objects.filter(pk=item.pk).delete(),
            lambda: PayoutApproval.objects.filter(batch=batch).update(operator=second),
            lambda: Statement.objects.filter(item=item).update(number="x"),
        ):
            with pytest.raises(DatabaseError), transaction.atomic():
                act()


class TestSending:
    def test_pays_and_says_so(self, cast, provider, second, rail):
        batch = approved(cast, provider, second)
        rail.fee = 25
        before = reading.balance(postings.PAYPAL)
        assert payouts.send(batch.pk)
        batch.refresh_from_db()

        assert (batch.state, batch.items.get().state) == ("finished", "done")
        assert account(provider, postings.TRANSIT) == 0
        assert reading.balance(postings.PAYPAL) - before == -7025
        with tenant_scope(provider.tenant):
            assert Notification.objects.filter(kind="billing.payout_paid").exists()

    def test_a_lost_answer_is_asked_for_again_under_the_same_id(self, cast, provider, second, rail):
        batch = approved(cast, provider, second)
        rail.loses_answers = True
        assert not payouts.send(batch.pk)
        assert PayoutBatch.objects.get(pk=batch.pk).state == "sending"
        rail.loses_answers = False
        payouts.send_approved()

        assert len(rail.batches) == 1
        assert PayoutBatch.objects.get(pk=batch.pk).state == "finished"

    def test_a_batch_that_the_rail_refuses_gives_everything_back(self, cast, provider, second, rail):
        batch = approved(cast, provider, second)
        rail.refuses = True
        payouts.send(batch.pk)

        assert account(provider, postings.AVAILABLE) == 7000
        assert PayoutItem.objects.get(batch=batch).reason == "The account is limited."

    def test_a_refusal_after_a_lost_answer_gives_nothing_back(self, cast, provider, second, rail):
        """The first one may have arrived: who gave its money back would pay it twice."""
        batch = approved(cast, provider, second)
        rail.loses_answers = True
        payouts.send(batch.pk)
        rail.loses_answers, rail.refuses = False, True
        payouts.send(batch.pk)
        assert (account(provider, postings.TRANSIT), account(provider, postings.AVAILABLE)) == (7000, 0)
        rail.refuses = False
        payouts.send(batch.pk)

        assert PayoutItem.objects.get(batch=batch).state == "done"

    def test_nothing_is_begun_on_a_rail_that_is_not_there(self, cast, provider, second, monkeypatch):
        monkeypatch.delitem(rails._makers, "paypal", raising=False)
        batch = approved(cast, provider, second)
        payouts.send_approved()

        assert PayoutBatch.objects.get(pk=batch.pk).state == "approved"

    def test_what_nobody_claims_waits_and_comes_back(self, cast, provider, second, rail):
        rail.status = ItemStatus.UNCLAIMED
        batch = approved(cast, provider, second)
        payouts.send(batch.pk)
        assert (account(provider, postings.TRANSIT), PayoutItem.objects.get(batch=batch).rail_status) == (
            7000,
            "UNCLAIMED",
        )
        rail.status = ItemStatus.RETURNED
        payouts.poll_sent()

        assert (account(provider, postings.TRANSIT), account(provider, postings.AVAILABLE)) == (0, 7000)

    def test_what_comes_back_after_it_had_arrived_is_with_us_again(self, cast, provider, second, rail):
        batch = approved(cast, provider, second)
        before = reading.balance(postings.PAYPAL)
        payouts.send(batch.pk)
        rail.status = ItemStatus.REVERSED
        payouts.poll_sent()
        payouts.poll_sent()

        assert reading.balance(postings.PAYPAL) == before
        assert account(provider, postings.AVAILABLE) == 7000

    def test_repeated_and_late_news_change_nothing(self, cast, provider, second, rail):
        batch = approved(cast, provider, second)
        payouts.send(batch.pk)
        item = PayoutItem.objects.get(batch=batch)
        for status in (ItemStatus.PENDING, ItemStatus.SUCCESS, ItemStatus.PENDING, ItemStatus.SUCCESS):
            payouts.apply(batch.pk, [ItemState(item.pk, status)])

        assert PayoutItem.objects.get(pk=item.pk).state == "done"
        assert account(provider, postings.TRANSIT) == 0

    def test_a_batch_that_is_not_approved_is_never_sent(self, cast, provider, rail):
        batch = ready(cast, provider)
        payouts.send_approved()

        assert not payouts.send(batch.pk)
        assert rail.batches == {}


class TestTheStatement:
    def test_agrees_with_the_ledger_to_the_cent(self, cast, provider):
        invoice = earned(cast, provider)
        batch = ready(cast, provider, 5000)
        statement = Statement.objects.get(item__batch=batch)

        assert (statement.opening_minor, statement.earned_minor, statement.paid_minor) == (0, 11300, 11300)
        assert statement.closing_minor == -account(provider, postings.AVAILABLE) == 0
        assert sum(line["minor"] for line in statement.lines) == statement.closing_minor
        assert payout_statements.agrees(statement)
        assert invoice.tenant.name not in str(statement.lines)

    def test_the_next_one_begins_where_it_ended_and_shows_what_came_back(self, cast, provider, second, rail):
        rail.status = ItemStatus.FAILED
        batch = approved(cast, provider, second)
        payouts.send(batch.pk)
        with clock.frozen(PAYDAY + timedelta(days=31)):
            (later,) = payouts.build()
        first, last = (Statement.objects.get(item__batch=each) for each in (batch, later))

        assert last.after_posting == first.through_posting
        assert (last.opening_minor, last.returned_minor, last.earned_minor, last.paid_minor) == (0, 7000, 0, 7000)
        assert (first.number[-4:], last.number[-4:]) == ("0001", "0002")


class TestTheAccount:
    def with_second_factor(self, person):
        Authenticator.objects.create(user=person, type=Authenticator.Type.TOTP, data={})
        return person

    def test_a_method_is_chosen_with_a_second_factor_only(self, cast, provider):
        with pytest.raises(ForbiddenError) as caught:
            provider_accounts.choose_method(
                provider=provider, rail="paypal", destination="a@b.example", actor=cast.diana
            )
        assert "authenticator" in caught.value.next_step

    def test_a_changed_method_rests_and_everybody_hears_of_it(self, cast, provider):
        payable(provider)
        changed = provider_accounts.choose_method(
            provider=provider, rail="paypal", destination="Thief@b.example", actor=self.with_second_factor(cast.diana)
        )

        assert changed.rests_until == START + timedelta(hours=72)
        assert (changed.state, changed.missing) == ("onboarding", ["the proof that the payout method is yours"])
        with tenant_scope(provider.tenant):
            assert Notification.objects.filter(kind="billing.payout_method", recipient_id=cast.diana.pk).exists()

    def test_a_link_proves_the_address_that_it_was_mailed_to_and_no_other(self, cast, provider):
        person = self.with_second_factor(cast.diana)
        payable(provider)
        choose = provider_accounts.choose_method
        choose(provider=provider, rail="paypal", destination="one@b.example", actor=person)
        (mail,) = Notification.objects.filter(email="one@b.example")
        token = mail.url.rstrip("/").rpartition("/")[2]
        choose(provider=provider, rail="paypal", destination="two@b.example", actor=person)
        with pytest.raises(InvalidError):
            provider_accounts.confirm_method(provider=provider, token=token, actor=person)
        choose(provider=provider, rail="paypal", destination="one@b.example", actor=person)

        assert provider_accounts.confirm_method(provider=provider, token=token, actor=person).state == "active"

    def test_another_name_is_looked_at_again(self, cast, provider):
        payable(provider)
        form = {"address": "Street 2", "country": "de", "tax_id": ""}
        account = provider_accounts.save_tax_form(provider=provider, legal_name="Other Ltd", actor=cast.diana, **form)
        assert account.missing == ["the check of your identity by an operator"]
        account = provider_accounts.check_identity(provider=provider, known=True, operator=cast.olga)

        assert account.state == "active"

    def test_an_operator_can_stop_payments(self, cast, provider):
        payable(provider)
        provider_accounts.suspend(provider=provider, suspended=True, operator=cast.olga)
        assert not provider_accounts.account_of(provider).may_be_paid(clock.now())
        provider_accounts.suspend(provider=provider, suspended=False, operator=cast.olga)

        assert provider_accounts.account_of(provider).may_be_paid(clock.now())


def test_the_ledger_is_in_balance_after_all_of_it(cast, provider, second, rail):
    payouts.send(approved(cast, provider, second).pk)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    assert sum(total for _, currency, total in reading.trial_balance() if currency == "USD") == 0
