"""Background jobs: named, enqueued after the transaction that asked for them, safe to run twice.

A service calls `enqueue("app.verb_noun", ...)`; the worker finds the function by that name, so services never import tasks.
Arguments are JSON scalars. When the broker cannot be reached the request still succeeds and the failure is logged: every job
whose loss would matter is also found by a periodic sweep of the rows that wait for it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from celery import Task, current_app, shared_task
from django.db import DatabaseError, transaction
from django.db import OperationalError as DatabaseAway
from kombu.exceptions import OperationalError

from core.errors import MarketplaceError

log = logging.getLogger(__name__)

type_scalar = str | int | bool | None


# Seconds; a job that runs longer than the broker's visibility timeout (300 s) would be started a second time.
TIME_LIMIT_S_MAX = 240
_RETRY_FIRST_S, _RETRY_LAST_S = 2, 120


def task(
    name: str, *, max_retries: int = 3, time_limit: int = 120
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a job under its name. `time_limit` in seconds.

    The jobs' translator of errors: one that may pass (`retryable`, or the database being away) is tried again with growing
    pauses, any other ends the job and is logged by the worker.
    """
    assert time_limit <= TIME_LIMIT_S_MAX

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(self: Task, *args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except (MarketplaceError, DatabaseError) as error:
                if not may_pass(error):
                    raise
                raise self.retry(exc=error, countdown=pause_before(self.request.retries + 1)) from error

        return shared_task(name=name, bind=True, max_retries=max_retries, time_limit=time_limit, ignore_result=True)(
            run
        )

    return decorate


def may_pass(error: Exception) -> bool:
    """Whether the same job may succeed later."""
    return error.retryable if isinstance(error, MarketplaceError) else isinstance(error, DatabaseAway)


def pause_before(attempt: int) -> int:
    """Seconds before the n-th retry: doubling, bounded."""
    return int(min(_RETRY_FIRST_S * 2 ** (attempt - 1), _RETRY_LAST_S))


def enqueue(name: str, /, **arguments: type_scalar) -> None:
    """Send the job when the current transaction commits; at once when there is none."""
    on_commit(lambda: _send(name, arguments))


def on_commit(function: Callable[[], Any]) -> None:
    """Run after the commit; an error in it is logged and cannot undo what was committed."""
    transaction.on_commit(function, robust=True)


def _send(name: str, arguments: dict[str, type_scalar]) -> None:
    try:
        current_app.send_task(name, kwargs=arguments, retry=False)
    except OperationalError:
        log.exception("job not sent", extra={"job": name})
