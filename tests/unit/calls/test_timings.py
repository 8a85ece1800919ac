"""Steps of a call as text: what the pipeline marks is what the trace shows."""

from __future__ import annotations

import pytest

from calls import timings
from calls.rows import MAX_TEXT
from calls.timings import Step


def test_each_step_takes_from_the_end_of_the_one_before() -> None:
    text = timings.encode(1_000, [("key", 36_000), ("body", 41_000), ("reply", 1_241_000)])
    assert text == "key:35,body:40,reply:1240"
    assert timings.decode(text) == [Step("key", 0, 35), Step("body", 35, 5), Step("reply", 40, 1200)]


def test_too_many_steps_are_cut_between_two_of_them() -> None:
    text = timings.encode(0, [("a_step", 1_000 * number) for number in range(200)])
    assert len(text) <= MAX_TEXT
    assert len(timings.decode(text)) == text.count(",") + 1


@pytest.mark.parametrize("text", ["", ",", "a", "a:", ":5", "a:b", "a:-1", "a:²"])
def test_what_cannot_be_read_is_left_out(text: str) -> None:
    assert timings.decode(text) == []


def test_a_step_never_takes_less_than_nothing() -> None:
    assert timings.decode("a:9,b:3") == [Step("a", 0, 9), Step("b", 9, 0)]
