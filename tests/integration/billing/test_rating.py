"""Rating real rows: every call is on exactly one line, and lines, days and months cost the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.core import months
from billing.core.rated import by_day
from billing.core.rating import Kind, PriceModel, Tier, dump, quote
from billing.core.rating import rate as price_of
from billing.models import PriceVersion
from billing.services import rating
from calls.models import Call, Period, UsageDay
from calls.services import periods, usage_days
from core import clock
from tenants.context import platform_scope, tenant_scope
from tests.support.calls import add_call, add_refusal

TIERED = PriceModel(Kind.GRADUATED, tiers=(Tier(3, Decimal("0.015")), Tier(None, Decimal("0.0049"))), free=2)


@pytest.fixture
def acme(cast: Any) -> Iterator[Any]:
    with tenant_scope(cast.acme):
        periods.open_ahead()
        yield cast.acme


def agreed(cast: Any, model: PriceModel, tool: str = "") -> PriceVersion:
    """A price of acme's own, as if it had always been agreed."""
    with platform_scope():
        return PriceVersion.objects.create(
            server=cast.payments,
            tenant=cast.acme,
            tool=tool,
            model=dump(model),
            rate=quote(model),
            effective_from=clock.now() - timedelta(days=400),
        )


def paid(cast: Any, price: PriceVersion, **fields: Any) -> Any:
    server = cast.payments
    return add_call(
        cast.acme,
        server_id=server.pk,
        server_name=server.slug,
        provider_id=server.provider_id,
        price_version_id=price.pk,
        quoted_price=price.rate,
        price=price.rate,
        billable=True,
        quantity=Decimal(1),
        **fields,
    )


def test_each_line_says_whose_what_and_how_much_and_free_calls_are_on_none(cast, acme):
    price, this = agreed(cast, TIERED), Period.objects.earliest("id")
    for tool in ["a", "a", "b", "b", "b"]:
        paid(cast, price, at=this.starts_at, tool=tool)
    add_call(acme, at=this.starts_at, server_id=cast.payments.pk)
    add_refusal(acme, "no_grant", at=this.starts_at, server_id=cast.payments.pk)

    first, second = rating.rate(acme, this)
    assert (first.tool, first.quantity, first.free_quantity, first.exact, first.minor) == ("a", 2, 2, 0, 0)
    assert (second.tool, second.quantity, second.free_quantity, second.exact, second.minor) == (
        "b", 3, 0, Decimal("0.045"), 5,
    )  # fmt: skip
    assert (second.provider_id, second.provider_name) == (cast.payments.provider_id, cast.payments.provider.name)
    assert (second.share_bps, second.provider_minor, second.platform_minor) == (7000, 4, 1)
    assert second.agreement_id is not None
    assert (second.late, second.origin_month, second.currency) == (False, months.month_of(this.starts_at), "USD")


def test_late_calls_are_lines_of_the_next_month_that_name_their_own(cast, acme):
    price = agreed(cast, PriceModel(Kind.PER_UNIT, rate=Decimal("0.02")))
    this, following = Period.objects.order_by("id")[:2]
    paid(cast, price, at=this.ends_at - timedelta(microseconds=1))
    with clock.frozen(this.ends_at + timedelta(hours=6)):
        periods.start_closing()
        periods.close(this.pk)
        before = rating.rate(acme, this)
        paid(cast, price, at=this.ends_at - timedelta(microseconds=1))
        paid(cast, price, at=this.ends_at)
        assert rating.rate(acme, this) == before
        late, own = rating.rate(acme, following)
    assert (late.late, late.origin_month, late.quantity) == (True, months.month_of(this.starts_at), 1)
    assert (own.late, own.origin_month, own.quantity) == (False, months.month_of(this.ends_at), 1)
    assert [line.quantity for line in before] == [1]


def test_nobody_is_billed_for_another_s_calls(cast, acme):
    price, this = agreed(cast, TIERED), Period.objects.earliest("id")
    paid(cast, price, at=this.starts_at)
    with tenant_scope(cast.globex):
        periods.open_ahead()
        theirs = Period.objects.get(pk=this.pk)
    assert [line for line in rating.rate(cast.globex, theirs) if line.price_version_id == price.pk] == []


kinds = st.sampled_from(
    [
        TIERED,
        PriceModel(Kind.PER_UNIT, rate=Decimal("0.0033333333")),
        PriceModel(Kind.PACKAGE, rate=Decimal("0.1"), size=4, free=1),
        PriceModel(Kind.VOLUME, tiers=(Tier(5, Decimal("0.02")), Tier(None, Decimal("0.001")))),
    ]
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kinds, st.lists(st.tuples(st.integers(0, 27), st.sampled_from("ab"), st.integers(0, 1)), max_size=12))
def test_days_and_lines_of_real_rows_cost_the_same_to_the_last_digit(cast, acme, model, calls):
    this = Period.objects.earliest("id")
    price = agreed(cast, model, tool=uuid4().hex)
    for day, tool, key in calls:
        paid(cast, price, at=this.starts_at + timedelta(days=day), tool=tool, api_key_id=[None, uuid4()][key])
    usage_days.refresh(this)

    lines = [line for line in rating.rate(acme, this) if line.price_version_id == price.pk]
    quantities: dict[date, Decimal] = defaultdict(Decimal)
    for row in UsageDay.objects.filter(period_id=this.pk, price_version_id=price.pk):
        quantities[row.day] += row.quantity
    total = price_of(model, len(calls))
    assert sum((line.exact for line in lines), Decimal(0)) == total
    assert sum(by_day(quantities, model).values(), Decimal(0)) == total
    assert sum((line.quantity for line in lines), Decimal(0)) == len(calls)
    billed = Call.objects.filter(period_id=this.pk, billable=True, price_version_id=price.pk)
    assert billed.count() == len(calls)
