from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.rating import dump, free_units, parse, quote, rate
from core.errors import InvalidError
from tests.unit.billing.models import anything, monotone, quantities

GRADUATED = {
    "kind": "graduated",
    "tiers": [
        {"up_to": 100, "rate": "0.10", "flat": "0"},
        {"up_to": 1000, "rate": "0.05", "flat": "1"},
        {"up_to": None, "rate": "0.01"},
    ],
}


class TestRate:
    @pytest.mark.parametrize(
        ("model", "quantity", "price"),
        [
            ({"kind": "per_unit", "rate": "0.02"}, 3, "0.06"),
            ({"kind": "per_unit", "rate": "0.02", "free": 2}, 3, "0.02"),
            ({"kind": "per_unit", "rate": "0.02", "free": 5}, 3, "0"),
            ({"kind": "package", "rate": "5", "size": 100}, 1, "5"),
            ({"kind": "package", "rate": "5", "size": 100}, 100, "5"),
            ({"kind": "package", "rate": "5", "size": 100}, 101, "10"),
            ({"kind": "package", "rate": "5", "size": 100, "free": 1}, 101, "5"),
            (GRADUATED, 0, "0"),
            (GRADUATED, 100, "10"),
            (GRADUATED, 101, "11.05"),
            (GRADUATED, 1000, "56"),
            (GRADUATED, 1001, "56.01"),
            ({**GRADUATED, "kind": "volume"}, 100, "10"),
            ({**GRADUATED, "kind": "volume"}, 101, "6.05"),
            ({**GRADUATED, "kind": "volume"}, 2000, "20"),
        ],
    )
    def test_examples_by_hand(self, model, quantity, price):
        assert rate(parse(model), quantity) == Decimal(price)

    @given(anything, st.lists(quantities, max_size=12))
    def test_days_telescope_to_the_month_exactly(self, model, days):
        total, cumulative = Decimal(0), Decimal(0)
        for day in days:
            total += rate(model, cumulative + day) - rate(model, cumulative)
            cumulative += day

        assert total == rate(model, cumulative)

    @given(anything, quantities)
    def test_it_is_never_negative_and_nothing_costs_nothing(self, model, quantity):
        assert rate(model, quantity) >= 0
        assert rate(model, 0) == 0
        assert rate(model, model.free) == 0

    @given(monotone, quantities, quantities)
    def test_more_never_costs_less_except_by_volume(self, model, one, two):
        assert rate(model, min(one, two)) <= rate(model, max(one, two))

    @given(anything, quantities)
    def test_a_price_that_is_free_charges_nothing_and_others_charge_for_enough(self, model, quantity):
        if model.is_free:
            assert rate(model, quantity) == 0
        else:
            assert max(rate(model, model.free + n) for n in (1, 5000, 20001)) > 0 or any(
                tier.rate or tier.flat for tier in model.tiers
            )

    @given(anything, quantities)
    def test_free_units_and_paid_ones_are_all(self, model, quantity):
        given_away = free_units(model, quantity)

        assert 0 <= given_away <= quantity
        assert given_away == quantity or given_away == model.free


class TestQuote:
    @given(anything, st.integers(0, 20_000))
    def test_no_single_call_costs_more_than_quoted(self, model, before):
        assert rate(model, before + 1) - rate(model, before) <= quote(model)

    @given(anything)
    def test_some_call_costs_what_is_quoted(self, model):
        ends = [0, *(tier.up_to for tier in model.tiers if tier.up_to)]
        moments = [model.free + end + further for end in ends for further in (0, 1)]
        steps = [rate(model, at + 1) - rate(model, at) for at in moments]

        assert max(steps) == quote(model)


class TestParse:
    @given(anything)
    def test_a_model_survives_its_json(self, model):
        assert parse(json.loads(json.dumps(dump(model)))) == model
        assert dump(parse(dump(model))) == dump(model)

    @pytest.mark.parametrize(
        ("data", "field"),
        [
            ([], "model"),
            ({}, "kind"),
            ({"kind": "auction"}, "kind"),
            ({"kind": "per_unit"}, "rate"),
            ({"kind": "per_unit", "rate": 0.02}, "rate"),
            ({"kind": "per_unit", "rate": True}, "rate"),
            ({"kind": "per_unit", "rate": "-1"}, "rate"),
            ({"kind": "per_unit", "rate": "NaN"}, "rate"),
            ({"kind": "per_unit", "rate": "Infinity"}, "rate"),
            ({"kind": "per_unit", "rate": "1e9"}, "rate"),
            ({"kind": "per_unit", "rate": "ten"}, "rate"),
            ({"kind": "per_unit", "rate": "0.00000000001"}, "rate"),
            ({"kind": "per_unit", "rate": "0.00000000010000000000000000000000000001"}, "rate"),
            ({"kind": "per_unit", "rate": "1" * 5000}, "rate"),
            ({"kind": "per_unit", "rate": "1", "size": 5}, "size"),
            ({"kind": "per_unit", "rate": "1", "free": -1}, "free"),
            ({"kind": "per_unit", "rate": "1", "free": "1.5"}, "free"),
            ({"kind": "package", "rate": "1"}, "size"),
            ({"kind": "package", "rate": "1", "size": 0}, "size"),
            ({"kind": "graduated"}, "tiers"),
            ({"kind": "graduated", "tiers": []}, "tiers"),
            ({"kind": "graduated", "tiers": [{"up_to": 10, "rate": "1"}]}, "tiers[0].up_to"),
            ({"kind": "volume", "tiers": [{"up_to": None, "rate": "1"}] * 2}, "tiers[0].up_to"),
            ({"kind": "volume", "tiers": [{"up_to": 5, "rate": "1"}] * 2 + [{"rate": "1"}]}, "tiers[1].up_to"),
            ({"kind": "volume", "tiers": [{"rate": "x"}]}, "tiers[0].rate"),
            ({"kind": "volume", "tiers": [{"rate": "1", "flat": "x"}]}, "tiers[0].flat"),
            ({"kind": "volume", "tiers": ["1"]}, "tiers[0]"),
        ],
    )
    def test_what_is_wrong_is_named(self, data, field):
        with pytest.raises(InvalidError) as caught:
            parse(data)

        assert caught.value.data["field"] == field
