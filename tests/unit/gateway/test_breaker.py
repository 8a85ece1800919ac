"""When a server is left alone, for how long, and how it comes back."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.breaker import Breaker, BreakerConfig, State
from gateway.admission.endpoints import Endpoints

CONFIG = BreakerConfig(jitter=0.0)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(CONFIG)
    for _ in range(5):
        breaker.fail(now)
    return breaker


def test_five_failures_in_a_row_open_it_and_a_success_between_does_not() -> None:
    breaker = Breaker(CONFIG)
    for _ in range(4):
        breaker.fail(1.0)
    breaker.succeed(1.0)
    for _ in range(4):
        breaker.fail(1.0)
    assert breaker.state is State.CLOSED
    breaker.fail(1.0)
    assert breaker.state is State.OPEN
    assert breaker.blocked_s(1.0) == 5.0


def test_half_of_twenty_within_the_window_open_it() -> None:
    breaker = Breaker(CONFIG)
    for _ in range(9):
        breaker.succeed(1.0)
        breaker.fail(1.0)
    assert breaker.state is State.CLOSED  # nineteen calls are too few to judge by
    breaker.succeed(1.0)
    breaker.fail(1.0)
    assert breaker.state is State.OPEN


def test_what_left_the_window_no_longer_counts() -> None:
    breaker = Breaker(CONFIG)
    for _ in range(9):
        breaker.succeed(1.0)
        breaker.fail(1.0)
    breaker.succeed(40.0)
    breaker.fail(40.0)
    assert breaker.state is State.CLOSED
    assert breaker.rates(40.0) == (1, 1)


def test_after_the_wait_one_probe_passes_and_its_success_closes_it() -> None:
    breaker = opened()
    assert breaker.blocked_s(5.0) == 0.0
    assert breaker.enter(5.0)
    assert breaker.blocked_s(5.0) > 0  # the others wait for the probe
    breaker.succeed(31.0)
    assert breaker.state is State.CLOSED
    assert not breaker.enter(31.0)


def test_a_failed_probe_opens_it_for_longer_up_to_five_minutes() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(12):
        waits.append(breaker.blocked_s(now))
        now = breaker.open_until
        breaker.enter(now)
        breaker.fail(now)
    assert waits[:3] == [5.0, 10.0, 15.0]
    assert waits[-1] == 25.0


def test_a_probe_that_says_nothing_leaves_the_place_to_the_next_call() -> None:
    breaker = opened()
    breaker.enter(5.0)
    breaker.leave()
    assert breaker.blocked_s(5.0) == 0.0


def test_the_wait_that_the_server_asked_for_is_honoured() -> None:
    breaker = Breaker(CONFIG)
    for _ in range(5):
        breaker.fail(0.0, 120.0)
    assert breaker.blocked_s(0.0) == 120.0


def test_an_old_answer_does_not_close_an_open_breaker() -> None:
    breaker = opened()
    breaker.succeed(1.0)
    assert breaker.state is State.OPEN


def test_one_address_is_chosen_until_its_breaker_opens() -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a",))
    assert endpoints.choose(0.0) is not None
    for _ in range(5):
        endpoints.each[0].breaker.fail(0.0)
    assert endpoints.choose(0.0) is None
    assert endpoints.blocked_s(0.0) == 5.0


def test_calls_go_round_the_addresses_and_pass_over_a_broken_one() -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a", "b", "c"))
    assert {endpoints.choose(0.0).url for _ in range(6)} == {"a", "b", "c"}  # type: ignore[union-attr]
    for _ in range(5):
        endpoints.each[1].breaker.fail(0.0)
    assert {endpoints.choose(0.0).url for _ in range(6)} == {"a", "c"}  # type: ignore[union-attr]
    assert endpoints.choose(0.0, wanted="b") is None


def test_an_address_keeps_what_is_known_of_it_when_another_is_added() -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a",))
    first = endpoints.each[0]
    endpoints.set(("b", "a"))
    assert endpoints.each[1] is first


@given(st.integers(2, 9), st.data())
def test_at_most_half_of_the_addresses_are_passed_over_while_one_is_well(count: int, data: st.DataObject) -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(tuple(str(number) for number in range(count)))
    broken = data.draw(st.sets(st.integers(0, count - 1), max_size=count - 1))
    for index in broken:
        for _ in range(5):
            endpoints.each[index].breaker.fail(0.0)
    chosen = {endpoints.choose(0.0).url for _ in range(4 * count)}  # type: ignore[union-attr]
    assert len(chosen) >= count - count // 2
    assert {str(number) for number in range(count)} - {str(number) for number in broken} <= chosen


DOWN_AT = datetime(2026, 11, 21, tzinfo=UTC)


def test_a_warning_refuses_nothing_until_a_real_call_failed_and_then_one_is_enough() -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a",))
    endpoints.note_down(DOWN_AT, 0.0)
    (endpoint,) = endpoints.each
    assert endpoint.breaker.state is State.CLOSED
    assert all(endpoints.choose(0.0) is endpoint for _ in range(100))

    endpoint.breaker.fail(1.0)

    assert endpoint.breaker.state is State.OPEN
    assert endpoints.choose(1.0) is None


def test_a_call_that_succeeds_takes_the_warning_back_for_good() -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a",))
    endpoints.note_down(DOWN_AT, 0.0)
    breaker = endpoints.each[0].breaker
    breaker.succeed(1.0)
    endpoints.note_down(DOWN_AT, 2.0)  # the same finding says nothing more
    for _ in range(CONFIG.consecutive - 1):
        breaker.fail(3.0)

    assert breaker.state is State.CLOSED


def test_what_calls_found_within_the_window_counts_for_more_than_a_check() -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a",))
    endpoints.each[0].breaker.succeed(0.0)
    endpoints.note_down(DOWN_AT, 1.0)
    endpoints.each[0].breaker.fail(2.0)

    assert endpoints.each[0].breaker.state is State.CLOSED


def test_a_warning_ends_when_the_checks_reach_the_server_again() -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a",))
    endpoints.note_down(DOWN_AT, 0.0)
    endpoints.note_down(None, 1.0)
    endpoints.each[0].breaker.fail(2.0)

    assert endpoints.each[0].breaker.state is State.CLOSED


def test_servers_of_several_addresses_are_not_warned_because_checks_ask_one_of_them() -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a", "b"))
    endpoints.note_down(DOWN_AT, 0.0)

    assert not any(each.breaker.warned for each in endpoints.each)


@given(st.lists(st.sampled_from(["warn", "succeed", "unwarn"]), max_size=30))
def test_no_sequence_of_warnings_closes_a_server_whose_calls_succeed(steps: list[str]) -> None:
    endpoints = Endpoints(CONFIG)
    endpoints.set(("a",))
    for moment, step in enumerate(steps):
        if step == "succeed":
            endpoints.each[0].breaker.succeed(float(moment))
        else:
            endpoints.note_down(DOWN_AT.replace(microsecond=moment) if step == "warn" else None, float(moment))
        assert endpoints.choose(float(moment)) is not None
