"""Numbers of calls at a price that depends on them: whatever processes do, money is counted for all that was called."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.limits import MONEY_SCALE, Period, to_units, window_of
from billing.core import rating
from billing.core.curves import Curve
from billing.core.rating import PriceModel, quote, rate
from gateway.admission.budgets import Subject
from gateway.admission.units import ALONE, COUNTED_MAX, Units
from tests.unit.billing.models import small

PROCESSES = 3
PACKAGE = rating.parse({"kind": "package", "rate": "5", "size": 4})


class Numbers:
    """What Valkey keeps: how many numbers are used or out. `renew` is one round of one process."""

    def __init__(self, model: PriceModel) -> None:
        self.model, self.now = model, 0.0
        self.most = to_units(quote(model))
        window = window_of(Period.MONTH, datetime(2026, 11, 21, tzinfo=UTC))
        subject = Subject(uuid4(), "t", None, None, "", uuid4())
        curve = Curve(model, MONEY_SCALE)
        self.processes = [Units("u", subject, window, curve, self.most) for _ in range(PROCESSES)]
        self.reported = [0] * PROCESSES
        self.owed = 0
        self.held: list[tuple[int, int]] = []  # (process, what its reservation had taken)
        self.counted = 0  # money of billed calls

    def renew(self, process: int) -> None:
        units = self.processes[process]
        want, back = units.wanted(self.now)
        units.part(back)
        units.short = units.recent = 0
        self.reported[process] = units.spent + units.outstanding + want
        room = COUNTED_MAX - sum(self.reported)
        owed, self.owed = self.owed + units.owed(), 0
        if not want:
            owed, self.owed = 0, owed
        units.renewed(want, room, owed)
        units.heard_spent = units.spent
        units.heard("g", room, sum(each.heard_spent for each in self.processes))
        units.known = True

    def call(self, process: int) -> None:
        self.now += 0.01
        units = self.processes[process]
        if not units.reserve(self.now, 1):
            self.renew(process)
            assert units.reserve(self.now, 1)
        self.held.append((process, units.taken))

    def end(self, which: int, *, billed: bool) -> None:
        if self.held:
            process, taken = self.held.pop(which % len(self.held))
            units = self.processes[process]
            units.settle(taken, billed=billed)
            self.counted += units.money(taken) if billed else 0

    @property
    def under_way(self) -> int:
        return sum(self.processes[process].money(taken) for process, taken in self.held)

    @property
    def billed(self) -> int:
        return sum(units.spent for units in self.processes)

    @property
    def carried(self) -> int:
        return self.owed + sum(units.carry + units.idle_worth for units in self.processes)


STEPS = st.lists(
    st.tuples(st.sampled_from(["call", "call", "bill", "fail", "renew", "sleep"]), st.integers(0, 7)), max_size=80
)


def play(numbers: Numbers, steps: list[tuple[str, int]]) -> None:
    for what, which in steps:
        match what:
            case "call":
                numbers.call(which % PROCESSES)
            case "bill" | "fail":
                numbers.end(which, billed=what == "bill")
            case "renew":
                numbers.renew(which % PROCESSES)
            case _:
                numbers.now += 100.0


@given(model=small, steps=STEPS)
def test_what_is_counted_held_idle_and_carried_is_the_bill_of_all_numbers_that_are_out(
    model: PriceModel, steps: list[tuple[str, int]]
) -> None:
    numbers = Numbers(model)
    play(numbers, steps)
    for process in range(PROCESSES):
        numbers.renew(process)
    out = Curve(model, MONEY_SCALE).cost(0, sum(numbers.reported))
    assert numbers.counted + numbers.under_way + numbers.carried == out
    assert sum(numbers.reported) >= numbers.billed
    assert out >= to_units(rate(model, numbers.billed))
    assert all(0 <= taken <= numbers.most for _, taken in numbers.held)


@given(model=small, steps=STEPS)
def test_calls_of_one_process_that_all_succeed_are_counted_at_no_less_and_at_no_more_than_the_bill(
    model: PriceModel, steps: list[tuple[str, int]]
) -> None:
    numbers = Numbers(model)
    play(numbers, [(what, 0) for what, _ in steps if what != "fail"])
    while numbers.held:
        numbers.end(0, billed=True)
    assert numbers.counted == Curve(model, MONEY_SCALE).cost(0, numbers.billed)
    assert numbers.counted >= to_units(rate(model, numbers.billed))


def test_the_call_that_opens_a_package_costs_it_and_those_inside_cost_nothing() -> None:
    numbers = Numbers(PACKAGE)
    taken = []
    for _ in range(9):
        numbers.call(0)
        taken.append(numbers.held[-1][1])
        numbers.end(0, billed=True)
    five = to_units(quote(PACKAGE))
    assert taken == [five, 0, 0, 0, five, 0, 0, 0, five]


def test_the_next_call_pays_for_a_package_whose_first_call_failed() -> None:
    numbers = Numbers(PACKAGE)
    numbers.call(0)
    numbers.call(1)
    assert [numbers.processes[0].money(taken) for _, taken in numbers.held] == [numbers.most, 0]
    numbers.end(0, billed=False)
    numbers.end(0, billed=True)
    numbers.renew(0)
    numbers.renew(0)
    assert (numbers.counted, numbers.owed) == (0, numbers.most)
    numbers.call(2)
    assert numbers.held[-1][1] == numbers.most


def test_a_call_needs_room_for_a_package_that_is_not_surely_paid() -> None:
    numbers = Numbers(PACKAGE)
    numbers.call(0)
    numbers.call(1)
    assert numbers.processes[1].room_for(0) == numbers.most
    numbers.end(0, billed=True)
    numbers.renew(0)
    numbers.renew(1)
    assert numbers.processes[1].room_for(0) == 0


def test_a_number_is_not_kept_where_others_would_pay_for_it() -> None:
    """Three free calls are left of six: a process that does not call at this moment holds none."""
    numbers = Numbers(rating.parse({"kind": "per_unit", "rate": "1", "free": 6}))
    for process in (0, 1, 2):
        numbers.call(process)
        numbers.end(0, billed=True)
        numbers.renew(process)
    assert numbers.counted == 0
    assert [units.lease for units in numbers.processes] == [0, 0, 0]


def test_a_call_whose_number_nobody_can_tell_is_counted_at_the_most() -> None:
    numbers = Numbers(PACKAGE)
    (units, *_) = numbers.processes
    assert units.reserve_alone(1)
    assert (units.taken, units.money(units.taken)) == (ALONE, numbers.most)
    units.settle(units.taken, billed=True)
    assert (units.spent, units.reserved, units.lease) == (1, 0, 0)


@pytest.mark.parametrize("billed", [True, False])
def test_a_number_that_was_never_leased_is_not_given_back(billed: bool) -> None:
    numbers = Numbers(PACKAGE)
    (units, *_) = numbers.processes
    units.reserve_alone(1)
    units.settle(units.taken, billed=billed)
    assert units.outstanding == 0
