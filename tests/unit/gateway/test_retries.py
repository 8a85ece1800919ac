"""How much of what a server gets may be repeats, and how long is waited before one."""

from __future__ import annotations

import pytest

from gateway.admission import retries


@pytest.mark.parametrize(("calls", "repeats"), [(0, 3), (1, 3), (15, 3), (16, 4), (50, 10), (64, 13)])
def test_repeats_under_way_are_a_fifth_of_the_calls_and_three_in_any_case(calls: int, repeats: int) -> None:
    budget = retries.Budget()
    taken = sum(budget.take(calls) for _ in range(calls + 20))
    assert taken == repeats


def test_a_repeat_that_ended_makes_room_for_the_next() -> None:
    budget = retries.Budget()
    assert [budget.take(1) for _ in range(4)] == [True, True, True, False]
    budget.give()
    assert budget.take(1)


def test_pauses_differ_so_that_repeats_do_not_come_together() -> None:
    pauses = [retries.jitter() for _ in range(200)]
    assert all(0.05 <= pause <= 0.5 for pause in pauses)
    assert len(set(pauses)) > 100
