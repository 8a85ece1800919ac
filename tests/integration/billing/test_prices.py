from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from audit.services import SYSTEM
from billing.core.rating import parse, per_unit
from billing.models import PriceVersion
from billing.selectors import prices as selectors
from billing.services import prices
from core import clock
from core.errors import InvalidError
from tenants.context import platform_scope, tenant_scope, viewer

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def scope(cast):
    with platform_scope():
        yield


def change(cast, rate, **more):
    return prices.change_price(server=cast.payments, model=per_unit(Decimal(rate)), actor=SYSTEM, **more)


def held(cast, at=None, tool=""):
    found = selectors.for_call(tenant_id=cast.acme.pk, server_id=cast.payments.pk, tool=tool, at=at)
    return found.rate if found else None


class TestChanging:
    def test_a_cut_holds_at_once(self, cast):
        change(cast, "0.01")

        assert held(cast) == Decimal("0.01")

    def test_a_rise_holds_after_fourteen_days_and_not_before(self, cast):
        price = change(cast, "0.03")

        assert price.rises
        assert price.effective_from >= clock.now() + 14 * DAY - timedelta(seconds=5)
        assert (held(cast), held(cast, price.effective_from)) == (Decimal("0.02"), Decimal("0.03"))
        assert held(cast, price.effective_from - timedelta(microseconds=1)) == Decimal("0.02")

    def test_a_rise_that_comes_too_early_is_refused_with_the_day_from_which_it_can_hold(self, cast):
        with pytest.raises(InvalidError, match=f"{clock.now() + 14 * DAY:%Y-%m-%d}"):
            change(cast, "0.03", effective_from=clock.now() + 13 * DAY)

    def test_a_first_price_of_a_tool_is_a_rise_over_the_servers(self, cast):
        assert change(cast, "0.03", tool="list_invoices").rises
        assert not change(cast, "0.02", tool="list_invoices").rises

    def test_a_price_rises_once_in_thirty_days(self, cast):
        first = change(cast, "0.03")
        with clock.frozen(first.effective_from + DAY), pytest.raises(InvalidError, match="once in 30 days"):
            change(cast, "0.04")
        with clock.frozen(first.effective_from + 17 * DAY):
            assert change(cast, "0.04").rises

    def test_taking_back_a_cut_that_was_announced_is_a_rise(self, cast):
        change(cast, "0.01", effective_from=clock.now() + 3 * DAY)
        with pytest.raises(InvalidError, match="can hold from"):
            change(cast, "0.02", effective_from=clock.now() + DAY)

    def test_what_was_to_hold_later_is_withdrawn_by_a_price_before_it(self, cast):
        rise = change(cast, "0.03")
        change(cast, "0.015")
        rise.refresh_from_db()

        assert rise.effective_to == rise.effective_from
        assert held(cast, rise.effective_from + DAY) == Decimal("0.015")

    def test_fewer_free_units_are_a_rise(self, cast):
        free = parse({"kind": "per_unit", "rate": "0.02", "free": 100})
        prices.change_price(server=cast.payments, model=free, actor=SYSTEM)

        assert change(cast, "0.02").rises

    def test_a_server_that_nobody_else_can_call_changes_at_once(self, cast):
        price = prices.change_price(server=cast.vault, model=per_unit(Decimal(1)), actor=SYSTEM)

        assert not price.rises


class TestAgreed:
    def test_it_beats_what_others_pay_and_is_theirs_alone(self, cast):
        change(cast, "0.01", tenant=cast.acme)
        others = selectors.for_call(tenant_id=cast.globex.pk, server_id=cast.payments.pk, tool="")

        assert (held(cast), held(cast, tool="list_invoices")) == (Decimal("0.01"), Decimal("0.01"))
        assert others.rate == Decimal("0.02")

    def test_ending_it_goes_back_to_the_public_price_after_the_notice(self, cast):
        price = change(cast, "0.01", tenant=cast.acme)
        prices.end_agreed(price=price, actor=SYSTEM)

        assert (held(cast), held(cast, clock.now() + 15 * DAY)) == (Decimal("0.01"), Decimal("0.02"))

    def test_postgres_shows_it_to_the_two_who_agreed_and_the_platform(self, cast):
        price = change(cast, "0.01", tenant=cast.acme)
        seen = {}
        for name in ("acme", "globex", "initech"):
            with tenant_scope(getattr(cast, name)):
                seen[name] = PriceVersion.objects.filter(pk=price.pk).exists()
        with viewer(""):
            seen["nobody"] = PriceVersion.objects.filter(pk=price.pk).exists()

        assert seen == {"acme": True, "globex": False, "initech": True, "nobody": False}

    def test_who_buys_sets_no_price(self, cast):
        with tenant_scope(cast.acme), pytest.raises(Exception, match="row-level security"), transaction.atomic():
            PriceVersion.objects.create(
                server=cast.payments, tenant=cast.acme, model={"kind": "per_unit", "rate": "0"}, rate=0
            )


class TestRows:
    def test_two_prices_never_hold_at_once(self, cast):
        with pytest.raises(IntegrityError, match="price_one_at_a_moment"), transaction.atomic():
            PriceVersion.objects.create(
                server=cast.payments, model={"kind": "per_unit", "rate": "1"}, rate=1, effective_from=clock.now() + DAY
            )

    @pytest.mark.parametrize(
        "change",
        ["rate = 0", "effective_from = now()", "model = '{}'", "tenant_id = NULL, rate = 5", "effective_to = NULL"],
    )
    def test_nothing_of_a_price_is_rewritten(self, cast, change):
        prices.set_price(server=cast.payments, rate=Decimal(1), actor=SYSTEM)
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE billing_priceversion SET {change} WHERE effective_to IS NOT NULL")

    def test_a_price_is_not_deleted(self, cast):
        with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
            PriceVersion.objects.filter(server=cast.payments).delete()


class TestTimeline(TestCase):
    """Whatever is set in whatever order, one price holds at each moment and it is the one that was set last for it."""

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 50)), min_size=1, max_size=8))
    def test_the_last_word_for_a_moment_holds(self, changes):
        from tests.support.cast import Cast

        cast = Cast.load()
        now = clock.now() + DAY
        expected = {}
        with platform_scope(), clock.frozen(now):
            for day, cents in changes:
                rate = Decimal(cents) / 100
                prices.set_price(
                    server=cast.payments, rate=rate, actor=SYSTEM, tool="list_invoices", effective_from=now + day * DAY
                )
                expected = {at: value for at, value in expected.items() if at < day} | {day: rate}
            for at in range(45):
                held = [value for day, value in sorted(expected.items()) if day <= at]
                found = selectors.current_prices([cast.payments.pk], now + at * DAY)[cast.payments.pk]
                assert (found["list_invoices"].rate if "list_invoices" in found else None) == (
                    held[-1] if held else None
                )
