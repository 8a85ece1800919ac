"""The pages of limits, and what gateways are told of them."""

from __future__ import annotations

import json

import pytest

from access.limits import LimitKind, LimitScope, to_units
from access.models import Limit
from audit.services import SYSTEM
from gateway.services.entries import tenant_entry
from tenants.context import tenant_scope

LIST, NEW = "/o/acme/access/limits/", "/o/acme/access/limits/new/"


def form(**changes):
    whole = {
        "name": "Monthly budget",
        "whom": "organisation",
        "tool": "",
        "what": "cap:month",
        "amount": "12.50",
        "hard": "yes",
    }
    return whole | changes


def limits(cast):
    with tenant_scope(cast.acme):
        return list(Limit.objects.all())


def rules(cast):
    return {rule.name: rule for rule in tenant_entry(cast.acme.pk).limits}


class TestPages:
    def test_before_anything_is_set_the_defaults_of_the_platform_are_shown(self, alice, cast):
        page = alice.get(LIST).content.decode()
        assert "600 requests a minute" in page
        assert "50.00 USD a month" in page
        assert page.count("Default of the platform") == 2

    def test_the_limits_of_a_plan_stand_beside_them(self, alice, cast, settings):
        settings.BILLING_DEFAULT_PLAN = "free"
        page = alice.get(LIST).content.decode()

        assert "1,000 tool calls a month" in page
        assert page.count("Part of your plan") >= 3

    def test_a_limit_that_is_set_replaces_the_default_and_reaches_gateways(self, alice, cast):
        before = tenant_entry(cast.acme.pk).revision
        assert alice.post(NEW, form()).status_code == 302
        rule = rules(cast)["Monthly budget"]
        assert (rule.kind, rule.scope, rule.amount) == (
            LimitKind.CAP,
            LimitScope.ORGANISATION,
            to_units(limits(cast)[0].amount),
        )
        assert "Spending of the organisation" not in rules(cast)
        assert tenant_entry(cast.acme.pk).revision > before
        assert "12.50 USD a month" in alice.get(LIST).content.decode()

    def test_a_tool_of_a_server_can_be_limited(self, alice, cast):
        asked = form(
            whom=f"server:{cast.payments.pk}", tool="list_invoices", what="rate:minute", amount="5", name="Slow"
        )
        assert alice.post(NEW, asked).status_code == 302, alice.post(NEW, asked).content.decode()
        rule = rules(cast)["Slow"]
        assert (rule.scope, rule.tool, rule.server_id) == (LimitScope.TOOL, "list_invoices", cast.payments.pk)

    def test_it_can_be_changed_and_removed(self, alice, cast):
        alice.post(NEW, form())
        (limit,) = limits(cast)
        alice.post(f"{LIST}{limit.pk}/", form(amount="20", hard="no"))
        assert (limits(cast)[0].amount, limits(cast)[0].hard) == (20, False)
        assert "Remove this limit?" in alice.get(f"{LIST}{limit.pk}/remove/").content.decode()
        alice.post(f"{LIST}{limit.pk}/remove/")
        assert limits(cast) == []

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"amount": "-1"}, "greater than or equal to 0"),
            ({"amount": "900001"}, "The amount is from 0"),
            ({"what": "rate:minute", "amount": "0"}, "The amount is from 1"),
            ({"what": "quota:day", "amount": "1.5"}, "whole numbers"),
            ({"whom": "server:11111111-1111-1111-1111-111111111111"}, "Select a valid choice"),
            ({"name": " "}, "required"),
        ],
    )
    def test_bad_input_is_named_and_sets_nothing(self, alice, cast, changes, words):
        assert words in alice.post(NEW, form(**changes)).content.decode()
        assert limits(cast) == []

    def test_a_member_sees_limits_and_sets_none(self, bob, cast):
        assert "Set a limit" not in bob.get(LIST).content.decode()
        assert bob.post(NEW, form()).status_code == 403

    def test_another_organisation_finds_nothing(self, charlie, cast):
        with tenant_scope(cast.acme):
            limit = Limit.objects.create(name="x", scope="organisation", kind="cap", amount=1, period="month")
        assert charlie.get(LIST).status_code == 404
        assert charlie.post(f"/o/globex/access/limits/{limit.pk}/remove/").status_code == 404
        assert limits(cast) == [limit]


class TestControlPlane:
    def test_what_was_spent_is_read_from_the_rows_of_calls(self, cast):
        from datetime import UTC, datetime
        from decimal import Decimal

        from access.limits import window_of
        from gateway.admission.budgets import Subject
        from gateway.services import limits as cold
        from tests.support.calls import add_call

        for _ in range(3):
            add_call(cast.acme, billable=True, price=Decimal("0.02"), quoted_price=Decimal("0.02"), quantity=Decimal(1))
        add_call(cast.acme)
        rule = rules(cast)["Spending of the organisation"]
        subject = Subject(cast.acme.pk, cast.acme.schema_name, None, None, "")
        assert cold.spent(subject, rule, window_of(rule.period, datetime.now(UTC))) == to_units(Decimal("0.06"))

    def test_the_month_s_calls_at_one_price_are_read_from_the_rows_of_calls(self, cast):
        from datetime import UTC, datetime
        from decimal import Decimal
        from uuid import uuid4

        from access.limits import window_of
        from gateway.admission.budgets import Subject
        from gateway.admission.units import RULE
        from gateway.services import limits as cold
        from tests.support.calls import add_call

        version = uuid4()
        for each in (version, version, uuid4()):
            add_call(cast.acme, billable=True, price_version_id=each, quantity=Decimal(1))
        subject = Subject(cast.acme.pk, cast.acme.schema_name, None, None, "", version)
        assert cold.spent(subject, RULE, window_of(RULE.period, datetime.now(UTC))) == 2

    def test_only_prices_that_depend_on_the_month_travel_with_their_model(self, cast):
        from billing.core.rating import parse
        from billing.services.prices import set_price
        from gateway.services.entries import server_entries
        from tenants.context import platform_scope

        def model() -> str:
            (entry,) = server_entries(server_id=cast.payments.pk)
            assert entry.price is not None
            return entry.price.model

        assert model() == ""
        with platform_scope():
            terms = parse({"kind": "package", "rate": "5", "size": 100})
            set_price(server=cast.payments, model=terms, actor=SYSTEM)
        assert parse(json.loads(model())) == terms

    def test_owners_and_admins_are_told(self, cast, alice):
        from gateway.admission.budgets import Subject
        from gateway.services import limits as cold

        rule = rules(cast)["Spending of the organisation"]
        cold.tell(Subject(cast.acme.pk, cast.acme.schema_name, None, None, ""), rule, 90, rule.amount * 9 // 10)
        page = alice.get("/o/acme/notifications/").content.decode()
        assert "90 % of this month" in page
        assert "45.00 USD of 50.00 USD" in page

    def test_those_who_see_the_bills_and_programs_hear_of_caps(self, cast):
        from gateway.admission.budgets import Subject
        from gateway.services import limits as cold
        from notifications.models import Notification, WebhookDelivery
        from tenants.choices import Role
        from tenants.context import tenant_scope
        from tenants.models import Membership
        from tenants.services import webhooks

        Membership.objects.filter(tenant=cast.acme, user=cast.bob).update(role=Role.BILLING)
        webhooks.create(tenant=cast.acme, name="books", url="https://8.8.8.8/hook", events=["*"], actor=cast.alice)
        rule = rules(cast)["Spending of the organisation"]
        cold.tell(Subject(cast.acme.pk, cast.acme.schema_name, None, None, ""), rule, 75, rule.amount * 3 // 4)
        with tenant_scope(cast.acme):
            told = Notification.objects.filter(kind=cold.REACHED).values_list("recipient_id", flat=True)
            assert set(told) == {cast.alice.pk, cast.bob.pk}
            [delivery] = WebhookDelivery.objects.filter(event="access.limit.reached")
            assert delivery.data["percent"] == 75
