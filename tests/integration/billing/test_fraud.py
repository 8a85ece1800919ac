"""Signs of fraud: what is seen, what it holds, and that a person decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.urls import reverse

from audit.models import AuditEvent
from billing.core.pace import jumped
from billing.models import BillingProfile, EarningRelease, FraudFlag, PaymentMethod, ProviderAccount
from billing.services import earnings, fraud, fraud_signs
from calls.models import UsageDay
from catalog.models import Provider
from core import clock
from core.errors import ConflictError, ForbiddenError, InvalidError
from core.ids import uuid7
from tenants.context import platform_scope, tenant_scope
from tenants.models import Membership
from tests.support.money import opened_invoice, paid, payable
from tests.support.operators import prove

pytestmark = pytest.mark.django_db
START = datetime(2027, 3, 1, 12, tzinfo=UTC)
DUE = START + timedelta(days=20)
Sign = FraudFlag.Sign


@pytest.fixture(autouse=True)
def _platform(cast):
    with platform_scope(), clock.frozen(START):
        yield


@pytest.fixture
def provider(cast) -> Provider:
    found = Provider.objects.select_related("tenant").get(pk=cast.payments.provider_id)
    payable(found)
    return found


@pytest.fixture
def earned(cast, provider):
    invoice = paid(opened_invoice(cast.acme, {provider.pk: (7000, 3000)}))
    earnings.plan(invoice)
    return invoice


def card(tenant, fingerprint: str) -> None:
    PaymentMethod.objects.create(
        tenant=tenant, external_id=f"pm_{uuid7()}", brand="visa", last4="4242", exp_month=1, exp_year=2030,
        fingerprint=fingerprint,
    )  # fmt: skip


def flags(tenant) -> list[tuple[str, bool, list[str]]]:
    rows = FraudFlag.objects.filter(tenant=tenant).order_by("sign")
    return [(row.sign, row.provider_id is not None, row.facts) for row in rows]


def used(tenant, provider, day, units: int, key=None) -> None:
    with tenant_scope(tenant):
        UsageDay.objects.create(
            period_id=day.year * 100 + day.month, day=day, server_id=uuid7(), server_name="s", tool="t",
            provider_id=provider.pk, price_version_id=uuid7(), api_key_id=key, calls=units, quantity=Decimal(units),
        )  # fmt: skip


def release() -> int:
    with clock.frozen(DUE):
        return earnings.release_due()


class TestTies:
    def test_nothing_is_held_where_nobody_is_on_both_sides(self, cast, earned):
        assert release() == 1
        assert flags(cast.acme) == []

    def test_people_of_the_provider_who_are_with_the_customer_hold_what_it_paid(self, cast, earned, provider):
        Membership.objects.create(tenant=cast.acme, user=cast.diana, role="member")

        assert release() == 0
        assert flags(cast.acme) == [(Sign.PEOPLE, True, [cast.diana.email])]
        assert EarningRelease.objects.filter(invoice=earned, held_for=earnings.LOOKED_AT).exists()

    def test_a_card_of_the_provider_pays_for_nothing_that_is_released(self, cast, earned, provider):
        card(cast.acme, "one")
        card(cast.initech, "one")

        assert release() == 0
        assert flags(cast.acme) == [(Sign.CARD, True, ["Visa ending in 4242"])]

    def test_a_card_that_customers_share_holds_what_they_pay_anybody(self, cast, earned):
        card(cast.acme, "two")
        card(cast.globex, "two")

        assert release() == 0
        assert flags(cast.acme) == [(Sign.CARD, False, ["Visa ending in 4242"])]

    @pytest.mark.parametrize("by", ["person", "address", "tax"])
    def test_who_is_paid_is_not_who_pays(self, cast, earned, provider, by):
        account = ProviderAccount.objects.get(provider=provider)
        account.destination, account.tax_id = "Same@x.example", "DE 1"
        if by == "person":
            account.destination = cast.bob.email.upper()
        account.save()
        emails, tax = (["same@x.example"], "") if by == "address" else ([], "DE 1" if by == "tax" else "")
        BillingProfile.objects.update_or_create(tenant=cast.acme, defaults={"emails": emails, "tax_id": tax})

        assert release() == 0
        assert [sign for sign, *_ in flags(cast.acme)] == [Sign.PAYEE]

    def test_looking_again_changes_nothing_and_another_sight_opens_it_again(self, cast, earned):
        Membership.objects.create(tenant=cast.acme, user=cast.diana, role="member")
        assert (fraud_signs.look_at_ties(), fraud_signs.look_at_ties()) == (1, 0)
        flag = FraudFlag.objects.get(tenant=cast.acme)
        fraud.decide(flag_id=flag.pk, confirmed=False, reason="She consults for them", operator=cast.olga)
        assert fraud_signs.look_at_ties() == 0

        Membership.objects.create(tenant=cast.initech, user=cast.bob, role="member")
        assert fraud_signs.look_at_ties() == 1
        flag.refresh_from_db()
        assert (flag.state, len(flag.facts)) == (FraudFlag.State.OPEN, 2)


class TestPaces:
    DAY = START.date() - timedelta(days=1)

    def past(self, cast, provider, units: int, key=None) -> None:
        for back in range(1, fraud_signs.PAST_DAYS + 1):
            used(cast.acme, provider, self.DAY - timedelta(days=back), units, key)

    def test_many_times_the_usual_calls_are_a_sign(self, cast, provider):
        self.past(cast, provider, 200)
        used(cast.acme, provider, self.DAY, 2001)
        fraud_signs.look_at_paces()

        assert flags(cast.acme) == [(Sign.PACE, True, ["2027-02-28: 2,001 paid calls (all calls), 200 a day before"])]

    def test_growth_and_small_numbers_are_none(self, cast, provider):
        self.past(cast, provider, 200)
        used(cast.acme, provider, self.DAY, 2000)
        used(cast.globex, provider, self.DAY - timedelta(days=3), 1)
        used(cast.globex, provider, self.DAY, 999)
        fraud_signs.look_at_paces()

        assert (flags(cast.acme), flags(cast.globex)) == ([], [])

    def test_one_key_can_be_sudden_where_the_organisation_is_not(self, cast, provider):
        key = uuid7()
        self.past(cast, provider, 5000)
        self.past(cast, provider, 10, key)
        used(cast.acme, provider, self.DAY, 3000, key)
        fraud_signs.look_at_paces()

        ((sign, _, facts),) = flags(cast.acme)
        assert (sign, f"key {key}" in facts[0]) == (Sign.PACE, True)

    def test_no_past_is_no_multiple(self):
        assert not jumped(10**6, 0, 28, 10, 1)

    def test_much_before_the_first_paid_invoice_is_a_sign_until_one_is_paid(self, cast, provider, settings):
        settings.FRAUD_NEWCOMER_MINOR = 9_999
        opened_invoice(cast.acme, {provider.pk: (7000, 3000)})
        fraud_signs.look_at_paces()
        assert flags(cast.acme) == [(Sign.NEWCOMER, False, ["No invoice of it was ever paid."])]

        paid(opened_invoice(cast.globex, {provider.pk: (7000, 3000)}))
        opened_invoice(cast.globex, {provider.pk: (70000, 30000)})
        fraud_signs.look_at_paces()
        assert flags(cast.globex) == []


class TestDeciding:
    @pytest.fixture
    def flag(self, cast, earned):
        Membership.objects.create(tenant=cast.acme, user=cast.diana, role="member")
        fraud_signs.look_at_ties()
        return FraudFlag.objects.get(tenant=cast.acme)

    def test_what_is_cleared_is_released_and_what_is_confirmed_never_is(self, cast, flag):
        fraud.decide(flag_id=flag.pk, confirmed=True, reason="Their own agents", operator=cast.olga)
        assert release() == 0
        fraud.decide(flag_id=flag.pk, confirmed=False, reason="It was not", operator=cast.olga)
        assert release() == 1
        assert AuditEvent.objects.filter(action="billing:fraud:cleared").exists()

    def test_a_decision_needs_a_reason_and_is_made_once(self, cast, flag):
        with pytest.raises(InvalidError):
            fraud.decide(flag_id=flag.pk, confirmed=False, reason=" ", operator=cast.olga)
        fraud.decide(flag_id=flag.pk, confirmed=False, reason="x", operator=cast.olga)
        with pytest.raises(ConflictError):
            fraud.decide(flag_id=flag.pk, confirmed=False, reason="x", operator=cast.olga)

    def test_nobody_decides_over_an_organisation_of_theirs(self, cast, flag):
        Membership.objects.create(tenant=cast.initech, user=cast.olga, role="member")
        with pytest.raises(ForbiddenError):
            fraud.decide(flag_id=flag.pk, confirmed=False, reason="x", operator=cast.olga)
        with pytest.raises(ForbiddenError):
            fraud.decide(flag_id=flag.pk, confirmed=False, reason="x", operator=cast.charlie)

    def test_operators_see_what_is_held_and_prove_that_it_is_them_before_they_decide(
        self, cast, flag, client, settings
    ):
        settings.STAFF_MFA_REQUIRED = False
        client.force_login(cast.olga)
        assert cast.acme.name in client.get(reverse("operations-billing-fraud")).content.decode()
        here = reverse("operations-billing-fraud-flag", args=[flag.pk])
        page = client.get(here).content.decode()
        assert cast.diana.email in page
        assert "70.00" in page
        answer = client.post(here, {"decision": "clear", "reason": "x"})
        assert "reauthenticate" in answer.url
        flag.refresh_from_db()
        assert flag.state == FraudFlag.State.OPEN

        prove(client, cast.olga)
        client.post(here, {"decision": "clear", "reason": "She consults for them"})
        flag.refresh_from_db()
        assert (flag.state, flag.decided_by) == (FraudFlag.State.CLEARED, cast.olga.email)
        assert "She consults for them" in client.get(reverse("operations-billing-fraud")).content.decode()
