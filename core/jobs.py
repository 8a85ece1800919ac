"""Background jobs: named, enqueued after the transaction that asked for them, safe to run twice.

A service calls `enqueue("app.verb_noun", ...)`; the worker finds the function by that name, so services never import tasks.
Arguments are JSON scalars. When the broker cannot be reached the request still succeeds and the failure is logged: every job
whose loss would matter is also found by a periodic sweep of the rows that wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery import current_app, shared_task
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

type_scalar = str | int | bool | None


def task(
    name: str, *, max_retries: int = 3, time_limit: int = 120
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a job under its name. `time_limit` in seconds."""
    return shared_task(name=name, max_retries=max_retries, time_limit=time_limit, ignore_result=True)


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
