from __future__ import annotations

from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from access import conditions
from access.conditions import ConditionInvalidError
from access.types import Conditions, Request

NIGHT = {"hours": [{"days": ["fri"], "from": "22:00", "to": "06:00", "zone": "Europe/Berlin"}]}


class TestParsing:
    def test_what_is_read_is_written_again(self):
        data = NIGHT | {
            "networks": ["203.0.113.0/24"],
            "environments": ["production"],
            "arguments": {"refund": {"properties": {"amount": {"maximum": 100}}}},
        }

        assert conditions.to_json(conditions.parse(data)) == data

    @pytest.mark.parametrize("nothing", [None, {}, {"hours": []}, {"arguments": {}}])
    def test_nothing_set_is_no_condition(self, nothing):
        assert conditions.parse(nothing) is None

    @pytest.mark.parametrize(
        "wrong",
        [
            {"weather": "fine"},
            ["hours"],
            {"hours": [{"days": ["someday"]}]},
            {"hours": [{"from": "25:00"}]},
            {"hours": [{"from": "08:00", "to": "08:00"}]},
            {"hours": [{"from": "08:00", "zone": "Mars/Olympus"}]},
            {"hours": [{"from": "08:00", "zone": "../../etc/passwd"}]},
            {"networks": ["everywhere"]},
            {"environments": ["Pro duction"]},
            {"arguments": {"t": {"type": "magic"}}},
            {"arguments": {"t": {"$ref": "https://elsewhere.example/schema"}}},
            {"arguments": {"t": {"anyOf": [{"$ref": "#"}]}}},
            {"arguments": {"t": {"properties": {"a": {"pattern": "^(a+)+$"}}}}},
            {"arguments": {"t": {"properties": {"a": {"pattern": "a*b"}}}}},
            {"arguments": {"t": {"properties": {"a": {"pattern": "^a*b*c*$"}}}}},
            {"arguments": {"t": {"description": "x" * 9000}}},
        ],
    )
    def test_what_cannot_be_decided_by_is_refused(self, wrong):
        with pytest.raises(ConditionInvalidError):
            conditions.parse(wrong)

    @pytest.mark.parametrize("pattern", ["^inv-[0-9]{1,6}$", r"^https://example\.com/.*$", "^[a-z]+", "^a?b{3}$"])
    def test_patterns_of_one_open_repetition_are_taken(self, pattern):
        assert conditions.parse({"arguments": {"t": {"properties": {"a": {"pattern": pattern}}}}})


class TestHours:
    @pytest.mark.parametrize(
        ("moment", "holds"),
        [
            (datetime(2026, 11, 20, 21, tzinfo=UTC), True),  # Friday 22:00 in Berlin
            (datetime(2026, 11, 20, 20, 59, tzinfo=UTC), False),
            (datetime(2026, 11, 21, 4, 59, tzinfo=UTC), True),  # Saturday 05:59
            (datetime(2026, 11, 21, 5, tzinfo=UTC), False),
            (datetime(2026, 11, 21, 21, 30, tzinfo=UTC), False),  # Saturday night
        ],
    )
    def test_hours_past_midnight_belong_to_the_day_on_which_they_began(self, moment, holds):
        held = conditions.parse(NIGHT)

        assert held is not None
        assert conditions.hold(held, Request("tools/call", "t"), moment) is holds


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
SCHEMAS = st.recursive(
    st.sampled_from(
        [
            True,
            {"type": "string"},
            {"type": "integer"},
            {"enum": ["a", 1]},
            {"minimum": 0},
            {"maxLength": 1},
            {"pattern": "^a"},
            {"required": ["a"]},
        ]
    ),
    lambda inner: (
        st.builds(lambda a: {"properties": {"a": a}}, inner)
        | st.builds(lambda a: {"items": a}, inner)
        | st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner)
        | st.builds(lambda a: {"not": a}, inner)
    ),
    max_leaves=5,
)


class TestArguments:
    @given(SCHEMAS, st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2))
    def test_they_are_judged_as_the_standard_says(self, schema, arguments):
        if schema is True:
            schema = {"type": "object"}
        held = conditions.parse({"arguments": {"t": schema}})
        assert held is not None

        fits = conditions.fits(held, Request("tools/call", "t", arguments=arguments))
        assert fits == jsonschema.Draft202012Validator(schema).is_valid(arguments)

    def test_what_would_take_too_long_is_not_allowed(self):
        held = Conditions(arguments={"t": {"properties": {"a": {"items": {"type": "integer"}}}}})

        assert conditions.fits(held, Request("tools/call", "t", arguments={"a": [1] * 100}))
        assert not conditions.fits(held, Request("tools/call", "t", arguments={"a": [1] * 100_000}))
