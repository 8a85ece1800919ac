"""`scripts/bench keys`: what it takes for a difference, and that it measures at all."""

import random

import pytest

from bench import keys
from bench.__main__ import main


def test_the_statistic_tells_shifted_samples_from_equal_ones() -> None:
    source = random.Random(7)
    one, other = ([source.gauss(100, 5) for _ in range(4000)] for _ in range(2))
    assert abs(keys.welch(one, other)) < keys.LEAK
    assert keys.welch([time + 1 for time in one], other) > keys.LEAK
    assert keys.welch(other, [time + 1 for time in one]) < -keys.LEAK
    assert keys.welch([1, 1], [1, 1]) == 0


def test_a_leak_of_the_secret_is_named_and_one_of_the_id_is_told_from_it() -> None:
    fast, slow = [1000 + number % 7 for number in range(500)], [1100 + number % 7 for number in range(500)]
    text = keys.report({"one": fast, "other": slow, keys.UNKNOWN: fast})
    verdicts = {line.split("  ")[0]: line.rsplit("  ", 1)[1] for line in text.splitlines()[-3:]}
    assert verdicts == {
        "one / other": "LEAK",
        f"one / {keys.UNKNOWN}": "no",
        f"other / {keys.UNKNOWN}": "that the id exists",
    }


def test_it_measures_refusals_of_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "--samples", "20"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(" us\n") == 4
    assert "wrong from the first character / wrong in the last character" in printed
