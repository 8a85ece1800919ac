"""Whether the call log and what was answered agree."""

import pytest

from bench.checks import Rows


def rows(*, recorded: int, recorded_ok: int | None = None, billed: int | None = None, answers: int) -> Rows:
    ok = recorded if recorded_ok is None else recorded_ok
    return Rows(
        recorded=recorded,
        recorded_ok=ok,
        billed=ok if billed is None else billed,
        answers=answers,
        in_flight=64,
    )


@pytest.mark.parametrize("in_flight", [0, 1, 64])
def test_calls_in_flight_at_the_end_of_a_run_may_be_recorded_without_being_counted(in_flight: int) -> None:
    assert rows(recorded=100 + in_flight, answers=100).problem == ""


def test_an_answer_without_a_row_is_a_problem() -> None:
    assert rows(recorded=99, answers=100).problem == "1 answered calls have no row"


def test_a_row_that_is_no_success_does_not_stand_for_an_answer() -> None:
    assert "have no row" in rows(recorded=100, recorded_ok=90, answers=100).problem


def test_more_rows_than_calls_are_a_problem() -> None:
    assert "more rows than answers" in rows(recorded=165, answers=100).problem


def test_a_success_that_is_not_billed_is_a_problem() -> None:
    assert "are billed" in rows(recorded=100, billed=99, answers=100).problem
