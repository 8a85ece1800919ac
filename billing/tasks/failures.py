"""What Celery tells of the ends of jobs. A retry is no end; what a handler raises is logged and changes nothing of the job."""

from __future__ import annotations

from typing import Any

from celery.signals import task_failure, task_success

from billing.services import failures


@task_failure.connect(dispatch_uid="billing.note_failure")
def note_failure(sender: Any = None, exception: BaseException | None = None, **told: Any) -> None:
    if sender is not None and exception is not None:
        failures.note(sender.name, told.get("kwargs") or {}, exception)


@task_success.connect(dispatch_uid="billing.settle_failure")
def settle_failure(sender: Any = None, **_told: Any) -> None:
    if sender is not None:
        failures.settle(sender.name, sender.request.kwargs or {})
