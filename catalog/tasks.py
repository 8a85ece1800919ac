from __future__ import annotations

import logging

from catalog import health
from catalog.services import indexing, telling
from core.jobs import task

log = logging.getLogger(__name__)


@task("catalog.check_health", max_retries=0, time_limit=240)
def check_health() -> None:
    """Check the listed servers. Not retried: the next run is minutes away and begins with those that were not reached."""
    counts = health.check_listed()
    if counts["down"] or counts["degraded"]:
        log.info("servers checked", extra={"counts": counts})


@task("catalog.tell_quarantine")
def tell_quarantine(*, server_id: str, tools: str) -> None:
    """Tell the server's owner and the operators that tools were closed."""
    telling.tell_quarantine(server_id, tools)


@task("catalog.refresh_words", max_retries=0, time_limit=240)
def refresh_words() -> None:
    """Let corrections and suggestions know the words of what is listed by now."""
    indexing.refresh_words()
