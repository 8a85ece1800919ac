"""What the report says of each bar."""

from bench import bars
from bench.bars import Bar


def test_a_share_that_is_reached_is_met_and_one_below_is_not() -> None:
    assert Bar("share", 0.30, 0.30, at_least=True).is_met
    assert not Bar("share", 0.29, 0.30, at_least=True).is_met


def test_a_time_at_its_bound_is_met_and_one_above_is_not() -> None:
    assert Bar("p99", 12.0, 12.0, "ms").is_met
    assert not Bar("p99", 12.1, 12.0, "ms").is_met


def test_every_line_says_value_bar_and_verdict() -> None:
    met, missed = bars.lines([Bar("share", 0.5, 0.3, at_least=True), Bar("p99", 13.0, 12.0, "ms")]).splitlines()
    assert met.split() == ["share", "0.500", "≥", "0.3", "met"]
    assert missed.split() == ["p99", "13.000", "ms", "≤", "12", "ms", "NOT", "MET"]
