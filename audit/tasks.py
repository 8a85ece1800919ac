from __future__ import annotations

import logging

from audit import verifier
from core.jobs import task

log = logging.getLogger(__name__)


@task("audit.verify_chains", time_limit=3600)
def verify_chains() -> None:
    """Verify every chain; a break is an error in the log that operators alert on."""
    for result in verifier.verify_all():
        if result.broken_at is not None:
            log.error(
                "audit chain broken",
                extra={"schema": result.schema_name, "sequence": result.broken_at, "why": result.why},
            )
