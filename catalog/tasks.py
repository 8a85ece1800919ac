from __future__ import annotations

import logging

from catalog.health import incidents, rounds
from catalog.services import import_runs, indexing, popularity, proofs, telling
from core.jobs import task

log = logging.getLogger(__name__)


@task("catalog.check_health", max_retries=0, time_limit=240)
def check_health() -> None:
    """Check the listed servers. Not retried: the next round is minutes away and begins with those that were not reached."""
    this = rounds.run()
    if this is not None and (this.down or this.degraded):
        log.info("servers checked", extra={"counts": this.counts})


@task("catalog.prune_health")
def prune_health() -> None:
    """Forget old checks."""
    rounds.prune()


@task("catalog.tell_incident")
def tell_incident(*, incident_id: str) -> None:
    """Tell the server's owner and the operators of an incident's beginning or end."""
    incidents.tell(incident_id)


@task("catalog.tell_quarantine")
def tell_quarantine(*, server_id: str, tools: str) -> None:
    """Tell the server's owner and the operators that tools were closed."""
    telling.tell_quarantine(server_id, tools)


@task("catalog.run_import", max_retries=0, time_limit=240)
def run_import(*, run_id: str) -> None:
    """Take the files of an import that an operator asked for; what does not fit into one job goes on in another."""
    import_runs.run(run_id)


@task("catalog.refresh_words", max_retries=0, time_limit=240)
def refresh_words() -> None:
    """Let corrections and suggestions know the words of what is listed by now, and search what an import left behind."""
    indexing.build_documents()
    indexing.refresh_words()


@task("catalog.count_calls", max_retries=0, time_limit=240)
def count_calls() -> None:
    """Count how much servers are called. Days that one run does not reach are counted by the next."""
    popularity.count_calls()


@task("catalog.ask_proofs", max_retries=0, time_limit=240)
def ask_proofs() -> None:
    """Look once a day whether what proves a claim is still published. What one run does not reach is the first of the next."""
    proofs.ask_again()
