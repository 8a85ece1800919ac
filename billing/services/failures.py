"""Jobs of billing that failed, kept until the same job succeeds: operators look at what is left (`selectors.exceptions`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db.models import F

from billing.models import JobFailure
from core import clock
from core.errors import MarketplaceError
from tenants.context import platform_scope

_PREFIX = "billing."
_ARGUMENTS_MAX = 500


def note(job: str, arguments: Mapping[str, Any], error: BaseException) -> None:
    """A job of ours has ended in an error."""
    if not job.startswith(_PREFIX):
        return
    code = error.error_code if isinstance(error, MarketplaceError) else type(error).__name__
    now = clock.now()
    with platform_scope():
        changes = {"error": code[:100], "failed_at": now, "times": F("times") + 1, "updated_at": now}
        if not _open(job, arguments).update(**changes):
            made = JobFailure(job=job, arguments=_text(arguments), error=code[:100], failed_at=now)
            JobFailure.objects.bulk_create([made], ignore_conflicts=True)


def settle(job: str, arguments: Mapping[str, Any]) -> None:
    """It has succeeded: an earlier failure of it is over."""
    if job.startswith(_PREFIX):
        with platform_scope():
            _open(job, arguments).update(ended_at=clock.now(), updated_at=clock.now())


def _open(job: str, arguments: Mapping[str, Any]) -> Any:
    return JobFailure.objects.filter(job=job, arguments=_text(arguments), ended_at=None)


def _text(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), sort_keys=True, default=str)[:_ARGUMENTS_MAX]
