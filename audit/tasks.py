from __future__ import annotations

import logging

from django_tenants.utils import schema_context

from audit import verifier
from audit.services import checkpoints
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
        if result.broken is not None:
            sequence, why, kind = result.broken
            log.error(
                "audit chain broken",
                extra={"schema": result.schema_name, "sequence": sequence, "why": why, "kind": str(kind)},
            )


@task("audit.make_checkpoints")
def make_checkpoints() -> None:
    """Sign the end of every chain that grew, and keep that outside."""
    for schema_name in verifier.schemas_with_audit():
        with schema_context(schema_name):
            checkpoints.make()


@task("audit.thin_out_checkpoints")
def thin_out_checkpoints() -> None:
    """Keep one checkpoint a day of those that are old."""
    for schema_name in verifier.schemas_with_audit():
        with schema_context(schema_name):
            checkpoints.thin_out()
