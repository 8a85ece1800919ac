from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import digests
from catalog.health import rules
from catalog.health.checks import changes_since
from catalog.health.rules import Uptime, damped

TOOL = {"name": "a", "description": "x", "inputSchema": {}}
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

states = st.sampled_from(["ready", "degraded", "down"])
outcomes = st.lists(st.sampled_from(["ready", "degraded", "down", "unknown"]), max_size=8)
shown = st.sampled_from(["ready", "degraded", "down", "unknown"])
ORDER = ["ready", "degraded", "down"]


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([TOOL], ""),
        ([{**TOOL, "icons": []}], ""),
        ([{**TOOL, "description": "y"}], "changed a"),
        ([], "removed a"),
        ([TOOL, {**TOOL, "name": "b"}], "added b"),
        ([{**TOOL, "name": name} for name in "abcdef"], "added b, c, d and 2 more"),
        ([{**TOOL, "inputSchema": {"type": "object"}}, {**TOOL, "name": "b"}], "changed a; added b"),
    ],
)
def test_differences_from_the_approved_definitions_are_told_in_words(tools, words):
    assert changes_since({"a": digests.of_tool(TOOL)}, tools) == words


class TestDamping:
    @given(shown=states, odd=states)
    def test_one_odd_check_changes_nothing(self, shown, odd):
        for history in ([odd], [shown, odd], [shown, shown, odd], [shown, odd, shown]):
            assert damped(shown, history) == shown

    @given(before=outcomes, shown=shown, state=states)
    def test_two_checks_that_agree_prevail_whatever_was_before(self, before, shown, state):
        assert damped(shown, [*before, state, state]) == state

    @given(before=outcomes, shown=shown, state=states, odd=states)
    def test_two_of_the_last_three_prevail_in_any_order(self, before, shown, state, odd):
        for last in ([state, state, odd], [state, odd, state], [odd, state, state]):
            assert damped(shown, [*before, *last]) == state

    @given(history=outcomes, shown=shown)
    def test_the_state_is_one_that_was_found_or_shown(self, history, shown):
        assert damped(shown, history) in {*history, shown, "unknown"}

    @given(history=st.lists(states, min_size=1, max_size=6), shown=states, place=st.integers(0, 5))
    def test_a_worse_check_never_makes_the_state_better(self, history, shown, place):
        worse = list(history)
        worse[place % len(worse)] = "down"

        assert ORDER.index(damped(shown, worse)) >= ORDER.index(damped(shown, history))

    @given(history=outcomes, shown=shown)
    def test_checks_that_failed_by_themselves_say_nothing(self, history, shown):
        assert damped(shown, history) == damped(shown, [each for each in history if each != "unknown"])

    @given(first=states)
    def test_where_nothing_is_shown_the_first_check_counts(self, first):
        assert damped("unknown", []) == "unknown"
        assert damped("unknown", [first]) == first

    def test_where_nothing_is_shown_two_that_differ_count_as_the_milder(self):
        assert damped("unknown", ["down", "ready"]) == damped("unknown", ["ready", "down"]) == "ready"


class TestDoubt:
    def test_nearly_all_of_many_hosts_failing_at_once_is_our_own_fault(self):
        hosts = {str(number): number == 0 for number in range(20)}

        assert rules.is_doubtful(hosts, dict.fromkeys(hosts, True))

    def test_it_is_theirs_when_they_are_few_or_not_nearly_all_or_failed_before(self):
        few = dict.fromkeys("abc", False)
        some = {str(number): number % 2 == 0 for number in range(20)}
        every = {str(number): False for number in range(20)}

        assert not rules.is_doubtful(few, {})
        assert not rules.is_doubtful(some, {})
        assert not rules.is_doubtful(every, dict.fromkeys(every, False))


class TestUptime:
    @given(st.integers(1, 10**6), st.data())
    def test_a_hundred_percent_means_that_not_one_check_failed(self, checks, data):
        answered = data.draw(st.integers(0, checks))
        percent = Uptime(checks, answered).percent

        assert (percent == 100) == (answered == checks)
        assert 0 <= percent <= 100 * answered / checks + 1e-9

    def test_without_a_check_it_is_not_known(self):
        assert Uptime(0, 0).percent is None


@given(st.lists(st.integers(0, 10**6), min_size=1).map(sorted), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_the_smallest_value_that_this_share_does_not_exceed(values, share):
    found = rules.percentile(values, share)

    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_there_is_no_percentile_of_nothing():
    assert rules.percentile([], 0.5) is None


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ((0, 0, 0), "unknown"),
        ((288, 0, 0), "ok"),
        ((287, 0, 1), "ok"),
        ((286, 0, 2), "down"),
        ((286, 2, 0), "degraded"),
        ((0, 1, 0), "degraded"),
        ((0, 0, 1), "down"),
    ],
)
def test_a_day_has_the_worst_state_that_more_than_one_check_found(counts, state):
    assert rules.state_of_day(*counts) == state


def test_a_certificate_ends_soon_within_two_weeks():
    assert not rules.certificate_ends_soon(None, NOW)
    assert not rules.certificate_ends_soon(NOW + timedelta(days=15), NOW)
    assert rules.certificate_ends_soon(NOW + timedelta(days=13), NOW)
    assert rules.certificate_ends_soon(NOW - timedelta(days=1), NOW)
