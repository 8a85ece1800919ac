from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core import clock


@pytest.fixture
def ahead(tmp_path, monkeypatch):
    """The file, looked at each time."""
    monkeypatch.setattr(clock, "_LOOK_EVERY_S", 0)
    file = tmp_path / "clock"
    clock.follow(str(file))
    yield file
    clock.follow("")


def is_ahead_by(days: int) -> bool:
    return abs(clock.now() - datetime.now(UTC) - timedelta(days=days)) < timedelta(hours=1)


def test_a_file_puts_the_clock_ahead_and_no_file_leaves_it(ahead):
    assert is_ahead_by(0)
    ahead.write_text(str(30 * 86_400))

    assert is_ahead_by(30)
    assert clock.to_unix_ms(clock.now()) - clock.unix_ms() < 1_000


def test_a_file_that_is_being_written_changes_nothing(ahead):
    ahead.write_text("86400")
    assert is_ahead_by(1)
    ahead.write_text("")

    assert is_ahead_by(1)


def test_a_frozen_moment_wins_and_gives_way_again(ahead):
    ahead.write_text("86400")
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    with clock.frozen(moment):
        assert clock.now() == moment

    assert is_ahead_by(1)
