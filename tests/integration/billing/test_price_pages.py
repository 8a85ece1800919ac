from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.urls import reverse

from audit.services import SYSTEM
from billing.core.rating import parse, per_unit
from billing.models import PriceVersion
from billing.selectors import plans as selectors
from billing.services import prices, simulating, telling
from calls.models import Period
from calls.services import usage_days
from core import clock
from core.money import Money
from notifications.models import Notification
from tenants.context import platform_scope, tenant_scope
from tests.support.calls import add_call

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_kept_sums():
    cache.clear()


@pytest.fixture
def diana(client, cast):
    client.force_login(cast.diana)
    return client


@pytest.fixture
def editor(cast):
    return reverse("org:server-prices", args=["initech", "payments"])


FORM = {"tool": "", "kind": "per_unit", "rate": "0.01", "free": "", "size": "", "tiers": "", "effective_from": ""}


class TestEditor:
    def test_it_shows_what_holds(self, diana, editor):
        page = diana.get(editor).content.decode()

        assert "0.02 USD per call" in page
        assert "Holds" in page

    def test_a_look_says_what_calls_cost_and_changes_nothing(self, diana, editor):
        tiers = {**FORM, "kind": "graduated", "tiers": "100 0.05\nmore 0.01", "do": "preview"}
        page = diana.post(editor, tiers).content.decode()

        assert "0.05 USD per call from 1 to 100; 0.01 USD per call from 101 on" in page
        assert "Some calls would cost more than now" in page
        assert PriceVersion.objects.filter(tool="", tenant=None).count() == 1

    def test_a_cut_holds_at_once_and_a_rise_after_the_notice(self, diana, editor, cast):
        diana.post(editor, {**FORM, "do": "set"})
        diana.post(editor, {**FORM, "rate": "0.05", "do": "set"})
        held, coming = PriceVersion.objects.filter(server=cast.payments, effective_to=None).get(), None
        with platform_scope():
            rows = list(PriceVersion.objects.filter(server=cast.payments).order_by("effective_from"))
        coming = rows[-1]

        assert [row.rate for row in rows] == [Decimal("0.02"), Decimal("0.01"), Decimal("0.05")]
        assert coming == held
        assert coming.effective_from - clock.now() > timedelta(days=13)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"rate": "ten"}, "Give an amount"),
            ({"rate": ""}, "Give an amount"),
            ({"kind": "package"}, "Give a whole number of calls"),
            ({"kind": "volume", "tiers": ""}, "Give 1 to 20 tiers"),
            ({"kind": "volume", "tiers": "100"}, "Give the amount as text"),
            ({"kind": "volume", "tiers": "100 1"}, "has no upper end"),
            ({"rate": "0.05", "effective_from": "2026-12-01T00:00"}, "can hold from"),
        ],
    )
    def test_what_cannot_be_is_said_beside_the_field(self, diana, editor, change, words):
        if "effective_from" in change:
            change["effective_from"] = f"{clock.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
        answer = diana.post(editor, {**FORM, **change, "do": "set"})

        assert answer.status_code == 422
        assert words in answer.content.decode()

    def test_nobody_edits_the_prices_of_another_organisation(self, client, cast):
        client.force_login(cast.alice)

        assert client.get(reverse("org:server-prices", args=["acme", "payments"])).status_code == 404
        assert client.get(reverse("org:server-prices", args=["initech", "payments"])).status_code == 404

    def test_sums_over_too_few_customers_are_not_shown(self, diana, editor):
        page = diana.post(editor, {**FORM, "do": "preview"}).content.decode()

        assert "Shown once at least 3 organisations called" in page


class TestTelling:
    def test_those_who_use_the_server_are_told_of_a_rise_once(self, cast):
        from access.services import grants

        with tenant_scope(cast.acme):
            subject = grants.Subject.of("agent", "a")
            grants.give(tenant=cast.acme, server=cast.payments, subject=subject, actor=cast.alice)
        with platform_scope():
            price = prices.change_price(server=cast.payments, model=per_unit(Decimal("0.05")), actor=SYSTEM)
        for _ in range(2):
            telling.tell_price(price.pk)

        told = {}
        for name in ("acme", "globex", "initech"):
            with tenant_scope(getattr(cast, name)):
                told[name] = list(Notification.objects.filter(kind=telling.RISING).values_list("body", flat=True))
        assert (len(told["acme"]), told["globex"], told["initech"]) == (1, [], [])
        assert "0.05 USD per call" in told["acme"][0]

    def test_who_called_the_server_lately_is_told_without_a_grant(self, cast):
        now = clock.now()
        add_call(cast.acme, at=now - timedelta(days=80), server_id=cast.payments.pk)
        add_call(cast.globex, at=now - timedelta(days=91), server_id=cast.payments.pk)
        with platform_scope():
            price = prices.change_price(server=cast.payments, model=per_unit(Decimal("0.05")), actor=SYSTEM)
        telling.tell_price(price.pk)

        told = {}
        for name in ("acme", "globex"):
            with tenant_scope(getattr(cast, name)):
                told[name] = Notification.objects.filter(kind=telling.RISING).exists()
        assert told == {"acme": True, "globex": False}


class TestPlanPage:
    def test_an_owner_takes_a_plan_after_a_look_at_what_it_costs(self, client, cast):
        client.force_login(cast.alice)
        to = reverse("org:plan-choose", args=["acme"]) + "?to=pro"
        look = client.get(to).content.decode()
        done = client.post(to, follow=True).content.decode()

        assert "Each month after" in look
        assert "29.00" in look
        assert "Pro holds now" in done
        assert selectors.current(cast.acme.pk).plan.slug == "pro"

    def test_it_ends_with_the_month(self, client, cast):
        client.force_login(cast.alice)
        client.post(reverse("org:plan-choose", args=["acme"]) + "?to=pro")
        question = client.get(reverse("org:plan-cancel", args=["acme"])).content.decode()
        page = client.post(reverse("org:plan-cancel", args=["acme"]), follow=True).content.decode()

        assert "End Pro?" in question
        assert "The subscription ends" in page

    def test_members_do_not_see_it_and_a_plan_by_agreement_is_not_for_taking(self, client, cast):
        client.force_login(cast.bob)
        assert client.get(reverse("org:plan", args=["acme"])).status_code == 403
        client.force_login(cast.alice)
        assert client.post(reverse("org:plan-choose", args=["acme"]) + "?to=enterprise").status_code == 403
        assert client.post(reverse("org:plan-choose", args=["acme"]) + "?to=nonsense").status_code == 302


class TestSimulation:
    def call(self, cast, tenant, times, **more):
        start, _ = simulating.last_month(clock.now())
        for _ in range(times):
            add_call(
                tenant,
                at=start + timedelta(days=3),
                server_id=cast.payments.pk,
                billable=True,
                quantity=Decimal(1),
                **more,
            )
        with tenant_scope(tenant):
            for period in Period.objects.all():
                usage_days.refresh(period)

    def test_it_sums_each_customer_s_month_and_leaves_out_the_provider_s_own_calls(self, cast, settings):
        settings.BILLING_SIMULATION_CUSTOMERS_MIN = 2
        self.call(cast, cast.acme, 3)
        self.call(cast, cast.globex, 5)
        self.call(cast, cast.initech, 7)
        model = parse({"kind": "package", "rate": "1.01", "size": 4})
        with tenant_scope(cast.initech):
            found = simulating.simulate(cast.payments, model, "")

        assert (found.is_shown, found.calls) == (True, 8)
        assert (found.before, found.after) == (Money(16, "USD"), Money(303, "USD"))
        assert found.kept == Money(212, "USD")

    def test_one_customer_alone_is_never_shown(self, cast, settings):
        settings.BILLING_SIMULATION_CUSTOMERS_MIN = 2
        self.call(cast, cast.acme, 3)
        self.call(cast, cast.initech, 3)
        with tenant_scope(cast.initech):
            found = simulating.simulate(cast.payments, per_unit(Decimal(1)), "")

        assert (found.is_shown, found.calls, found.before, found.after) == (False, 0, None, None)

    def test_a_price_of_one_tool_leaves_the_others(self, cast, settings):
        settings.BILLING_SIMULATION_CUSTOMERS_MIN = 1
        self.call(cast, cast.acme, 2)
        self.call(cast, cast.acme, 1, tool="refund_invoice")
        with tenant_scope(cast.initech):
            found = simulating.simulate(cast.payments, per_unit(Decimal(1)), "refund_invoice")

        assert found.after == Money(104, "USD")
