from __future__ import annotations

import pytest
from django.db import OperationalError

from core import jobs
from core.errors import ConflictError, MarketplaceError, UnavailableError, UpstreamError


def runs_of(name: str, error: Exception) -> int:
    """How often a worker runs a job that always ends with this error."""
    runs = []

    @jobs.task(f"tests.{name}", max_retries=3)
    def run() -> None:
        runs.append(1)
        raise error

    # Eager: the job's retries happen at once, one inside the other.
    assert run.apply().failed()
    return len(runs)


class TestTranslator:
    @pytest.mark.parametrize("error", [UnavailableError(), UpstreamError(), OperationalError("the database is away")])
    def test_what_may_pass_is_tried_again(self, error):
        assert runs_of(f"passing_{type(error).__name__}", error) == 4

    @pytest.mark.parametrize("error", [ConflictError("no"), MarketplaceError("no"), ValueError("no")])
    def test_what_stays_wrong_ends_the_job(self, error):
        assert runs_of(f"staying_{type(error).__name__}", error) == 1

    def test_pauses_grow_and_are_bounded(self):
        pauses = [jobs.pause_before(n) for n in range(1, 12)]

        assert pauses[:3] == [2, 4, 8]
        assert pauses == sorted(pauses)
        assert pauses[-1] == 120

    def test_no_job_may_outlive_the_patience_of_the_broker(self):
        with pytest.raises(AssertionError):
            jobs.task("tests.too_long", time_limit=300)
