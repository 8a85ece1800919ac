from __future__ import annotations

import logging

from core.jobs import enqueue, task
from repositories.services import settling, sync, telling
from tenants.context import platform_scope

log = logging.getLogger(__name__)


@task("repositories.sync", max_retries=3, time_limit=240)
def sync_source(*, run_id: str) -> None:
    """One step of reading one source. What comes to grief here touches no other source; the sweep sends it again."""
    with platform_scope():
        sync.work(run_id)


@task("repositories.settle", max_retries=5, time_limit=240)
def settle(*, repository_id: str) -> None:
    """Withdraw or move the entries of a source that was changed. Safe to run twice."""
    with platform_scope():
        settling.settle(repository_id)


@task("repositories.tell_failing")
def tell_failing(*, repository_id: str) -> None:
    """Tell who looks after a source that it cannot be read."""
    telling.tell(repository_id)


@task("repositories.sweep", max_retries=0, time_limit=120)
def sweep() -> None:
    """Go on with what a worker left, begin what is due, and follow the settings. Safe to run twice: runs are claimed."""
    with platform_scope():
        settling.follow_settings()
        sync.begin_due()
        for run_id in sync.resumable():
            enqueue("repositories.sync", run_id=str(run_id))
        for repository_id in settling.unsettled():
            enqueue("repositories.settle", repository_id=str(repository_id))
        telling.tell_waiting()


@task("repositories.prune", max_retries=0)
def prune() -> None:
    """Forget what old readings were like."""
    with platform_scope():
        gone = settling.prune()
    if gone:
        log.info("old sync runs forgotten", extra={"rows": gone})
