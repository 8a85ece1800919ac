"""How long the supervisor waits, from the environment."""

from __future__ import annotations

import pytest

from marketplace.supervisor.errors import StartError
from marketplace.supervisor.graces import Graces, read


def test_production_gives_calls_a_minute_and_kills_after_the_drain() -> None:
    assert read({"MARKETPLACE_ENV": "production"}) == Graces(stop=60, kill=75, hung=30, drain=5)


def test_a_developer_does_not_wait() -> None:
    assert read({}) == Graces(stop=8, kill=12, hung=30, drain=0)


def test_each_is_a_setting() -> None:
    given = {
        "MARKETPLACE_STOP_GRACE_SECONDS": "20",
        "MARKETPLACE_KILL_AFTER_SECONDS": "40",
        "MARKETPLACE_HUNG_AFTER_SECONDS": "0",
        "MARKETPLACE_DRAIN_SECONDS": "10",
    }
    assert read(given) == Graces(stop=20, kill=40, hung=0, drain=10)


def test_a_kill_before_the_process_may_be_done_is_refused_with_what_to_set() -> None:
    with pytest.raises(StartError, match="set it to 66 or more"):
        read({"MARKETPLACE_ENV": "production", "MARKETPLACE_KILL_AFTER_SECONDS": "60"})


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "²"])
def test_what_is_no_number_is_named(text: str) -> None:
    with pytest.raises(StartError, match="MARKETPLACE_STOP_GRACE_SECONDS"):
        read({"MARKETPLACE_STOP_GRACE_SECONDS": text})
