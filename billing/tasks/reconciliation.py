"""The daily comparison of our books with the payment providers. May run at any time and twice: it writes how things stand."""

from __future__ import annotations

from billing.services import reconciliation
from core import jobs
from core.jobs import task
from tenants.context import platform_scope


@task("billing.reconcile", max_retries=0, time_limit=jobs.TIME_LIMIT_S_MAX)
def reconcile() -> None:
    with platform_scope():
        reconciliation.run_due()
