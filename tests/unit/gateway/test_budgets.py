"""How much of a budget a process holds: enough to go on without Valkey for a while, and little where it is scarce."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from access.limits import LimitKind, LimitRule, LimitScope, Period, window_of
from gateway.admission.budgets import IDLE_S, OUTAGE_S, Budget, Subject

PRICE = 200
A_SECOND = 10


@pytest.fixture
def budget() -> Budget:
    rule = LimitRule("1", "Spending", LimitScope.ORGANISATION, LimitKind.CAP, 10**9, Period.MONTH)
    subject = Subject(UUID(int=1), "t_x", None, None, "")
    return Budget("b", rule, subject, window_of(Period.MONTH, datetime(2026, 11, 21, tzinfo=UTC)))


def spend(budget: Budget, *, seconds: int, room: int) -> float:
    """Rounds every tenth of a second, as the shared task does them, with one call in each; when it ended."""
    now = 1000.0
    for _ in range(seconds * A_SECOND):
        now += 1 / A_SECOND
        if budget.reserve(now, PRICE):
            budget.settle(PRICE, billed=True)
        want, back = budget.wanted(now)
        budget.lease += want - back
        budget.recent = budget.short = 0
        budget.heard("g", room, 0)
    return now


def test_far_from_the_limit_half_a_minute_s_worth_is_held(budget):
    spend(budget, seconds=20, room=10**9)

    assert budget.lease >= OUTAGE_S / 2 * A_SECOND * PRICE


def test_near_the_limit_nothing_lies_idle(budget):
    spend(budget, seconds=20, room=20 * PRICE)

    assert budget.lease <= 2 * PRICE


def test_never_more_than_a_sixteenth_of_what_is_left_is_asked_for(budget):
    spend(budget, seconds=20, room=160 * PRICE)

    assert budget.lease <= 10 * PRICE


def test_what_nobody_uses_goes_back(budget):
    now = spend(budget, seconds=20, room=10**9)
    held = budget.lease

    assert budget.wanted(now + IDLE_S - 1)[1] == 0
    assert budget.wanted(now + IDLE_S + 1) == (0, held)
