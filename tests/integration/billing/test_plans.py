from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from access.limits import LimitKind, Period
from audit.services import SYSTEM
from billing.models import Plan, PlanVersion, Subscription
from billing.selectors import plans as selectors
from billing.services import plans
from core import clock
from core.errors import ConflictError, ForbiddenError
from gateway.services import entries
from tenants.context import platform_scope

pytestmark = pytest.mark.django_db
TENTH = datetime(2027, 6, 10, tzinfo=UTC)
MAY, JUNE, JULY, AUGUST = (datetime(2027, month, 1, tzinfo=UTC) for month in (5, 6, 7, 8))


@pytest.fixture(autouse=True)
def scope(cast):
    with platform_scope():
        yield


def plan(slug: str) -> Plan:
    return Plan.objects.get(slug=slug)


def take(cast, slug: str, at: datetime, **more) -> Subscription:
    with clock.frozen(at):
        return plans.subscribe(tenant=cast.acme, plan=plan(slug), actor=SYSTEM, **more)


def lines(cast, start, end):
    return [(charge.kind, charge.minor, charge.label) for charge in plans.charges(cast.acme, start, end)]


class TestCharges:
    def test_a_plan_taken_within_a_month_costs_the_rest_of_it_and_the_next_one_in_advance(self, cast):
        take(cast, "pro", TENTH)

        assert lines(cast, JUNE, JULY) == [
            ("proration", 2900 * 21 // 30, "Pro, from 10 June 2027"),
            ("subscription", 2900, "Pro, July 2027"),
        ]
        assert lines(cast, JULY, AUGUST) == [("subscription", 2900, "Pro, August 2027")]
        assert lines(cast, MAY, JUNE) == []

    def test_asking_again_later_gives_the_same_lines_and_keys_are_never_repeated(self, cast):
        take(cast, "pro", TENTH)
        before = plans.charges(cast.acme, JUNE, JULY)
        with clock.frozen(JULY + timedelta(hours=3)):
            plans.cancel(tenant=cast.acme, actor=SYSTEM)
        keys = [c.key for month in ((JUNE, JULY), (JULY, AUGUST)) for c in plans.charges(cast.acme, *month)]

        assert plans.charges(cast.acme, JUNE, JULY) == before
        assert len(keys) == len(set(keys)) == 2

    def test_going_up_costs_the_difference(self, cast):
        PlanVersion.objects.create(plan=plan("enterprise"), tenant=cast.acme, price_minor=30_000, effective_from=MAY)
        take(cast, "pro", MAY)
        take(cast, "enterprise", JUNE + timedelta(days=15), by_operator=True)

        assert lines(cast, JUNE, JULY) == [
            ("proration", 15_000 - 1_450, "Enterprise instead of Pro, from 16 June 2027"),
            ("subscription", 30_000, "Enterprise, July 2027"),
        ]

    def test_going_down_and_leaving_hold_from_the_next_month_on_and_cost_nothing_more(self, cast):
        take(cast, "pro", MAY)
        take(cast, "free", TENTH)

        assert selectors.current(cast.acme.pk, JULY - timedelta(microseconds=1)).plan.slug == "pro"
        assert selectors.current(cast.acme.pk, JULY).plan.slug == "free"
        assert lines(cast, JUNE, JULY) == []

    def test_who_planned_to_leave_and_stays_pays_once(self, cast):
        take(cast, "pro", MAY)
        with clock.frozen(TENTH):
            plans.cancel(tenant=cast.acme, actor=SYSTEM)
            assert lines(cast, JUNE, JULY) == []
        take(cast, "pro", TENTH + timedelta(days=1))

        assert lines(cast, JUNE, JULY) == [("subscription", 2900, "Pro, July 2027")]

    def test_included_usage_is_given_for_the_part_of_the_month_that_the_plan_held(self, cast):
        PlanVersion.objects.create(
            plan=plan("pro"), tenant=cast.acme, price_minor=2900, included_minor=1000, effective_from=MAY
        )
        take(cast, "pro", JUNE + timedelta(days=15))

        assert plans.included_credit(cast.acme, JUNE, JULY) == 500
        assert plans.included_credit(cast.acme, JULY, AUGUST) == 1000


class TestRules:
    def test_a_plan_by_agreement_is_not_taken_without_an_operator(self, cast):
        with pytest.raises(ForbiddenError, match="agreed with the operators"):
            plans.subscribe(tenant=cast.acme, plan=plan("enterprise"), actor=SYSTEM)

    def test_the_same_plan_is_not_taken_twice(self, cast):
        plans.subscribe(tenant=cast.acme, plan=plan("pro"), actor=SYSTEM)
        with pytest.raises(ConflictError):
            plans.subscribe(tenant=cast.acme, plan=plan("pro"), actor=SYSTEM)

    def test_terms_of_another_organisation_are_nobody_elses(self, cast):
        PlanVersion.objects.create(plan=plan("pro"), tenant=cast.acme, price_minor=1, effective_from=MAY)

        assert selectors.terms_for(plan("pro"), cast.globex.pk, TENTH).price_minor == 2900
        assert [terms.tenant_id for terms in selectors.offered(TENTH)] == [None, None, None]

    def test_what_has_begun_is_neither_moved_nor_removed(self, cast):
        plans.subscribe(tenant=cast.acme, plan=plan("pro"), actor=SYSTEM)
        for statement in ("UPDATE billing_subscription SET starts_at = now()", "DELETE FROM billing_subscription"):
            with (
                pytest.raises(IntegrityError, match="only its end"),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(f"{statement} WHERE tenant_id = %s", [cast.acme.pk])


class TestGateway:
    def limits(self, cast) -> dict:
        return {rule.limit_id: rule for rule in entries.tenant_entry(cast.acme.pk).limits}

    def test_a_plan_s_limits_reach_the_gateway_and_stand_beside_the_organisation_s_own(self, cast):
        plans.subscribe(tenant=cast.acme, plan=plan("free"), actor=SYSTEM)
        limits = self.limits(cast)

        assert (limits["plan-month"].kind, limits["plan-month"].amount, limits["plan-month"].hard) == (
            LimitKind.QUOTA, 1000, True,
        )  # fmt: skip
        assert (limits["plan-rate"].period, limits["plan-rate"].amount) == (Period.MINUTE, 60)
        assert (limits["plan-spend"].kind, limits["plan-spend"].amount) == (LimitKind.CAP, 0)
        assert "default-spend" in limits

    def test_without_a_plan_there_are_none_and_the_plan_for_everybody_is_a_setting(self, cast, settings):
        assert not [name for name in self.limits(cast) if name.startswith("plan-")]
        settings.BILLING_DEFAULT_PLAN = "free"
        assert "plan-spend" in self.limits(cast)

    def test_what_begins_with_a_month_is_told_to_gateways_once(self, cast):
        take(cast, "pro", MAY)
        take(cast, "free", TENTH)
        cast.acme.refresh_from_db()
        before = cast.acme.revision
        with clock.frozen(JULY):
            applied = plans.apply_due(), plans.apply_due()
        cast.acme.refresh_from_db()

        assert applied[0] >= 1
        assert applied[1] == 0
        assert cast.acme.revision > before
