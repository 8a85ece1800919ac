from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access import conditions, engine, supposing
from access.types import GrantRule, PolicyMode, Principal, Request, ServerPolicy, SideEffect, ToolRule, Trust
from core.ids import uuid7

SERVER = uuid7()
TUESDAY = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
POLICY = ServerPolicy(
    SERVER, PolicyMode.ALLOW_LIST, Trust.LOW, {"refund": ToolRule("refund", Trust.LOW, SideEffect.READ)}
)
BOT = Principal(agent="bot")
CALL = Request("tools/call", "refund")
SMALL = {"refund": {"properties": {"amount": {"maximum": 100}}}}


def grant(name="g", **terms) -> GrantRule:
    return GrantRule(
        uuid7(),
        SERVER,
        Trust.HIGH,
        frozenset(SideEffect),
        name=name,
        agent="bot",
        conditions=conditions.parse(terms) if terms else None,
    )


def allowed(rules, request, moment=TUESDAY, principal=BOT):
    return engine.decide(POLICY, rules, (), principal, request, moment).allowed


def in_each_case(rules, request=CALL, moment=None):
    found = []
    for case in supposing.cases(supposing.questions(rules, BOT, request)):
        settled, asked = supposing.settle(rules, request, case, moment)
        found.append(allowed(settled, asked))
    return found


class TestWhatIsAsked:
    def test_nothing_where_no_grant_sets_a_condition(self):
        assert supposing.questions([grant()], BOT, CALL) == ()

    def test_addresses_and_arguments_once_each_however_many_grants_ask(self):
        rules = [grant(networks=["203.0.113.0/24"], arguments=SMALL), grant("h", networks=["203.0.113.0/24"])]

        assert [each.kind for each in supposing.questions(rules, BOT, CALL)] == ["address", "arguments"]

    def test_nothing_that_the_request_says_itself(self):
        request = replace(CALL, address="203.0.113.9", arguments={"amount": 1})

        assert supposing.questions([grant(networks=["203.0.113.0/24"], arguments=SMALL)], BOT, request) == ()

    def test_nothing_of_grants_for_others_or_for_other_tools(self):
        assert supposing.questions([grant(networks=["10.0.0.0/8"])], Principal(agent="other"), CALL) == ()
        assert supposing.questions([grant(arguments={"list": {}})], BOT, CALL) == ()
        assert supposing.questions([grant(arguments=SMALL)], BOT, Request("tools/list")) == ()


class TestCases:
    def test_an_address_decides(self):
        assert in_each_case([grant(networks=["203.0.113.0/24"])]) == [False, True]

    def test_a_grant_without_conditions_makes_it_certain(self):
        assert in_each_case([grant("a", networks=["203.0.113.0/24"]), grant("b")]) == [True, True]

    def test_arguments_decide(self):
        assert in_each_case([grant(arguments=SMALL)]) == [False, True]

    def test_both_have_to_hold(self):
        assert in_each_case([grant(networks=["10.0.0.0/8"], arguments=SMALL)]) == [False, False, False, True]

    @pytest.mark.parametrize(("hour", "is_allowed"), [(9, True), (20, False)])
    def test_hours_are_those_of_the_call(self, hour, is_allowed):
        rules = [grant(hours=[{"from": "08:00", "to": "18:00"}])]

        assert in_each_case(rules, moment=TUESDAY.replace(hour=hour)) == [is_allowed]

    @given(st.integers(1, 254), st.integers(0, 200), st.booleans(), st.booleans())
    def test_every_real_call_is_one_of_the_cases(self, last, amount, is_wide, has_other):
        rules = [grant("a", networks=["203.0.113.0/25"], arguments=SMALL)]
        rules += [grant("b", networks=["203.0.113.0/24"])] if is_wide else []
        rules += [grant("c", arguments={"refund": {"required": ["amount"]}})] if has_other else []
        real = replace(CALL, address=f"203.0.113.{last}", arguments={"amount": amount})

        assert allowed(rules, real) in in_each_case(rules)


class TestPartsOfTheDay:
    @pytest.mark.parametrize(
        ("start", "end", "minutes"), [("08:00", "18:00", 15), ("08:10", "18:00", 5), ("08:07", "18:00", 1)]
    )
    def test_are_as_long_as_the_hours_permit(self, start, end, minutes):
        assert supposing.minutes_between([grant(hours=[{"from": start, "to": end}])]) == minutes

    def test_are_not_needed_without_hours(self):
        assert supposing.minutes_between([grant(), grant(networks=["10.0.0.0/8"])]) == 0

    @given(st.integers(0, 24 * 60 - 1), st.integers(0, 14), st.sampled_from(["Asia/Kathmandu", "Europe/Berlin", "UTC"]))
    def test_all_of_a_part_is_inside_or_outside(self, start, within, zone):
        rules = [grant(hours=[{"from": f"{start // 60:02}:{start % 60:02}", "to": "24:00", "zone": zone}])]
        minutes = supposing.minutes_between(rules)
        begin = TUESDAY + timedelta(minutes=minutes * (start % 96))
        hours = rules[0].conditions.hours[0]

        assert conditions.is_in(hours, begin) == conditions.is_in(hours, begin + timedelta(minutes=within % minutes))
