"""Reading what the load generator wrote."""

from bench import load


def test_counts_times_and_errors_are_read_in_their_units() -> None:
    measured = load.parse("1000 2000000 1500 9000 20000 1 2 3 4 5\n503 unavailable")
    assert (measured.answers, measured.seconds, measured.per_second) == (1000, 2.0, 500.0)
    assert (measured.p50_ms, measured.p99_ms, measured.max_ms) == (1.5, 9.0, 20.0)
    assert (measured.wrong, measured.broken, measured.errors) == (5, 10, 15)
    assert measured.sample == "503 unavailable"


def test_a_run_without_answers_has_no_speed() -> None:
    assert load.parse("0 0 0 0 0 0 0 0 0 0\n").per_second == 0.0
