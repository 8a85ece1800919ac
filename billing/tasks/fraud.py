from __future__ import annotations

from billing.services import fraud_signs
from core import jobs
from core.jobs import task


@task("billing.look_for_fraud", max_retries=0, time_limit=jobs.TIME_LIMIT_S_MAX)
def look_for_fraud() -> None:
    """Look for signs of fraud at yesterday's calls and at what waits to be released. Safe to run twice."""
    fraud_signs.look_at_paces()
    fraud_signs.look_at_ties()
