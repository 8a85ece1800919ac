"""What one more call adds: the steps of a curve are those of the price, and money is never counted short."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.limits import MONEY_SCALE, to_units
from billing.core import rating
from billing.core.curves import Curve
from billing.core.rating import PriceModel, quote, rate
from tests.unit.billing.models import small

MONTH = 60


def counted(model: PriceModel, quantity: int) -> int:
    """What a curve has to add up to: the highest that the month's price has been at."""
    return max(to_units(rate(model, each)) for each in range(quantity + 1))


@given(model=small, quantity=st.integers(0, MONTH))
def test_what_calls_add_sums_to_the_price_of_the_month(model: PriceModel, quantity: int) -> None:
    assert Curve(model, MONEY_SCALE).cost(0, quantity) == counted(model, quantity)


@given(model=small, after=st.integers(0, MONTH), count=st.integers(0, MONTH))
def test_a_month_may_be_cut_anywhere(model: PriceModel, after: int, count: int) -> None:
    curve = Curve(model, MONEY_SCALE)
    assert curve.cost(0, after) + curve.cost(after, count) == curve.cost(0, after + count)
    assert sum(part for _, part in curve.runs(after, count)) == count


@given(model=small, after=st.integers(0, MONTH))
def test_calls_that_add_the_same_are_told_of_and_none_adds_more_than_was_quoted(model: PriceModel, after: int) -> None:
    curve = Curve(model, MONEY_SCALE)
    left = curve.left(after)
    assert left >= 1
    assert len({curve.cost(each, 1) for each in range(after, after + min(left, MONTH))}) == 1
    assert curve.cost(after, 1) <= to_units(quote(model))


@pytest.mark.parametrize(
    ("data", "adds"),
    [
        ({"kind": "per_unit", "rate": "0.02", "free": 2}, "0 0 0.02 0.02"),
        ({"kind": "package", "rate": "5", "size": 3}, "5 0 0 5 0 0 5"),
        ({"kind": "package", "rate": "5", "size": 2, "free": 1}, "0 5 0 5"),
        (
            {"kind": "graduated", "tiers": [{"up_to": 2, "rate": "2", "flat": "1"}, {"up_to": None, "rate": "1"}]},
            "3 2 1 1",
        ),
        # Three calls cost 3 and four cost 2: up to six calls nothing is added to what three cost.
        ({"kind": "volume", "tiers": [{"up_to": 3, "rate": "1"}, {"up_to": None, "rate": "0.5"}]}, "1 1 1 0 0 0 0.5"),
    ],
)
def test_worked_examples(data: dict[str, object], adds: str) -> None:
    wanted = [to_units(Decimal(each)) for each in adds.split()]
    curve = Curve(rating.parse(data), MONEY_SCALE)
    assert [curve.cost(number, 1) for number in range(len(wanted))] == wanted
