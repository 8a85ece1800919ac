from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from billing.core.comparing import rises
from billing.core.rating import Kind, PriceModel, per_unit, rate
from tests.unit.billing.models import anything

ONE = per_unit(Decimal("0.02"))


class TestRises:
    @given(anything, anything, st.lists(st.integers(0, 10**7), min_size=1, max_size=30))
    def test_what_is_said_to_cost_nobody_more_does_not(self, before, after, quantities):
        assume(not rises(before, after))

        assert all(rate(after, units) <= rate(before, units) for units in quantities)

    @given(anything, st.integers(1, 10**6))
    def test_more_free_units_are_no_rise_of_a_price_per_call(self, model, more):
        assume(model.kind is Kind.PER_UNIT)

        assert not rises(model, PriceModel(model.kind, rate=model.rate, free=model.free + more))

    @given(anything)
    def test_a_price_does_not_rise_over_itself(self, model):
        assert not rises(model, model)

    @pytest.mark.parametrize(
        ("before", "after", "is_rise"),
        [
            (None, ONE, True),
            (None, per_unit(Decimal(0)), False),
            (ONE, per_unit(Decimal("0.01")), False),
            (ONE, per_unit(Decimal("0.03")), True),
            (ONE, PriceModel(Kind.PACKAGE, rate=Decimal(2), size=100), True),  # the first call costs two
            (ONE, PriceModel(Kind.PACKAGE, rate=Decimal("0.02"), size=100), False),
            (PriceModel(Kind.PACKAGE, rate=Decimal(2), size=100), ONE, False),
            (
                PriceModel(Kind.PACKAGE, rate=Decimal(2), size=100),
                PriceModel(Kind.PACKAGE, rate=Decimal(1), size=50),
                False,
            ),
            (
                PriceModel(Kind.PACKAGE, rate=Decimal(1), size=50),
                PriceModel(Kind.PACKAGE, rate=Decimal(2), size=100),
                True,
            ),
            (
                PriceModel(Kind.PER_UNIT, rate=Decimal(1), free=10),
                PriceModel(Kind.PER_UNIT, rate=Decimal(1), free=9),
                True,
            ),
        ],
    )
    def test_examples(self, before, after, is_rise):
        assert rises(before, after) is is_rise
