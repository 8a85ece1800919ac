from __future__ import annotations

import logging

from audit import verifier
from core import jobs
from core.jobs import task

log = logging.getLogger(__name__)


@task("audit.verify_chains")
def verify_chains() -> None:
    """Have every chain verified, each by a job of its own, so that one long log does not hold up the others."""
    for schema_name in verifier.schemas_with_audit():
        jobs.enqueue("audit.verify_chain", schema_name=schema_name)


@task("audit.verify_chain", time_limit=jobs.TIME_LIMIT_S_MAX)
def verify_chain(schema_name: str) -> None:
    """Verify the chain of one schema; a break is an error in the log that operators alert on."""
    for result in verifier.verify_all(schema_name):
        if result.broken_at is not None:
            log.error(
                "audit chain broken",
                extra={"schema": result.schema_name, "sequence": result.broken_at, "why": result.why},
            )
