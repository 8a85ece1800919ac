"""Reading a source, batch by batch, so that a crash costs one batch.

A run is a row. A worker takes it by a lease, asks the source outside any transaction, and keeps each batch together with the
cursor behind it in one transaction. A step ends before jobs are cut off; the next one goes on at the cursor. What one source
does to its run touches no other: each has a job of its own.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, IntegrityError, OperationalError, transaction
from django.db.models import Q

from catalog.formats.normal import Entry, Problem
from catalog.services import importing
from core import clock, egress
from core.errors import MarketplaceError
from core.ids import uuid7
from core.jobs import enqueue
from repositories.adapters import registry
from repositories.adapters.fetching import Fetcher
from repositories.adapters.registry import Batch, Reading
from repositories.choices import OPEN_STATES, RunReason, RunState, SyncStatus
from repositories.errors import SourceBusyError, SourceInvalidError, SourceLaterError, SourceRefusedError
from repositories.models import Repository, SeenName, SyncRun
from repositories.services import credentials, rules, telling
from repositories.services.audience import source_ref

log = logging.getLogger(__name__)

# Seconds; a step ends well before the job's limit, and nobody takes a run over while its worker may still live.
STEP_S, FETCH_S = 90.0, 180.0
LEASE = timedelta(seconds=240)
TRIES_MAX = 5
BATCHES_MAX, ENTRIES_MAX = 20_000, 500_000
PROBLEMS_KEPT = 200
FULL_AT_LEAST = timedelta(days=7)
# Clocks of a registry's processes differ; a change that is read twice costs a comparison.
OVERLAP = timedelta(minutes=5)
_AGAIN_FIRST_S, _AGAIN_LAST_S = 30, 900
_ODD_ENTRY = (DatabaseError, MarketplaceError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


class LeaseLostError(Exception):
    """Another worker has the run, or somebody cancelled it."""


def begin(repository: Repository, *, reason: str, asked_by: str = "", full: bool = False) -> SyncRun:
    """Open a run and send its job. Raises SourceBusyError while one is open, SourceInvalidError when it may not be read."""
    if not repository.enabled or repository.removed_at is not None:
        raise SourceInvalidError("This source is turned off.", next_step="Turn it on first.")
    rules.check_kind(repository.kind, None)
    wait_until = rules.may_be_asked_at(repository)
    if wait_until is not None and repository.sync_status == SyncStatus.SUCCESS:
        raise SourceBusyError(
            "This registry asks to be read at most once an hour.", next_step=f"Try again after {wait_until:%H:%M} UTC."
        )
    adapter = registry.find(repository.kind)
    is_full = full or not adapter.incremental or _needs_full(repository)
    since = None if is_full or repository.watermark is None else repository.watermark - OVERLAP
    try:
        with transaction.atomic():
            run = SyncRun.objects.create(
                repository=repository,
                owner_tenant_id=repository.owner_tenant_id,
                reason=reason,
                asked_by=asked_by,
                full=is_full,
                since=since,
            )
            Repository.objects.filter(pk=repository.pk).update(sync_status=SyncStatus.IN_PROGRESS)
            enqueue("repositories.sync", run_id=str(run.pk))
    except IntegrityError as error:
        if "sync_run_one_open" not in str(error):
            raise
        raise SourceBusyError from error
    return run


def work(run_id: UUID | str, *, step_s: float = STEP_S) -> bool:
    """One step of a run; whether another should follow. Whoever finds the run taken, or not due, does nothing."""
    run = _claim(run_id)
    if run is None:
        return False
    lease = run.lease
    assert lease is not None
    try:
        if run.attempts > TRIES_MAX:
            _fail(run, lease, "It was tried several times and made no progress.")
            return False
        return _step(run, lease, step_s)
    except LeaseLostError:
        return False
    except SourceLaterError as error:
        _pause(run, lease, error.message, max(error.until - clock.now(), timedelta(0)))
    except MarketplaceError as error:
        if error.retryable and run.attempts < TRIES_MAX:
            seconds = min(_AGAIN_FIRST_S * 2 ** (run.attempts - 1), _AGAIN_LAST_S)
            _pause(run, lease, error.message, timedelta(seconds=seconds))
        else:
            _fail(run, lease, f"{error.message} {error.next_step}")
    return False


def cancel(repository: Repository) -> bool:
    """End the open run; its worker notices at its next batch."""
    now = clock.now()
    ended = SyncRun.objects.filter(repository=repository, state__in=OPEN_STATES).update(
        state=RunState.CANCELLED, ended_at=now, lease=None, lease_until=None, updated_at=now
    )
    if ended:
        status = SyncStatus.SUCCESS if repository.last_sync else SyncStatus.NEVER
        Repository.objects.filter(pk=repository.pk).update(sync_status=status)
    return bool(ended)


def resumable() -> list[UUID]:
    """Open runs that nobody works on and whose pause is over: what the sweep sends again."""
    now = clock.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    due = Q(resume_at=None) | Q(resume_at__lte=now)
    return list(SyncRun.objects.filter(free, due, state__in=OPEN_STATES).values_list("pk", flat=True))


def _needs_full(repository: Repository) -> bool:
    last = repository.last_full_sync
    return repository.watermark is None or last is None or clock.now() - last > FULL_AT_LEAST


def _claim(run_id: UUID | str) -> SyncRun | None:
    now = clock.now()
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    due = Q(resume_at=None) | Q(resume_at__lte=now)
    with transaction.atomic():
        run = (
            SyncRun.objects.select_for_update(of=("self",))
            .select_related("repository", "repository__owner_tenant")
            .filter(free, due, pk=run_id, state__in=OPEN_STATES)
            .first()
        )
        if run is None:
            return None
        run.lease, run.lease_until, run.resume_at = uuid7(), now + LEASE, None
        run.state, run.started_at, run.attempts = RunState.RUNNING, run.started_at or now, run.attempts + 1
        run.save()
    return run


def _step(run: SyncRun, lease: UUID, step_s: float) -> bool:
    repository = run.repository
    adapter = registry.find(repository.kind)
    rules.check_kind(repository.kind, None)
    allow = egress.parse_allow_list(settings.EGRESS_ALLOW)
    end = time.monotonic() + step_s
    fetcher = Fetcher(repository.url, allow, credentials.secret_of(repository), seconds=FETCH_S)
    known = repository.validators if not run.batches else {}
    reading = Reading(repository.url, fetcher, run.cursor, run.since, known, rules.roots())
    try:
        for batch in adapter.read(reading):
            _keep(run, lease, batch)
            if not batch.cursor:
                _finish(run, lease, unchanged=batch.unchanged)
                return False
            if time.monotonic() > end:
                _release(run, lease)
                return True
    finally:
        fetcher.close()
    raise SourceRefusedError("The source ended its answer in the middle.")


def _keep(run: SyncRun, lease: UUID, batch: Batch) -> None:
    """A batch and the cursor behind it, or neither."""
    with transaction.atomic():
        _lock(run, lease)
        repository = Repository.objects.get(pk=run.repository_id)
        report, odd = _take(source_ref(repository), batch.entries)
        run.created += report.created
        run.updated += report.updated
        run.unchanged += report.unchanged
        run.merged += report.merged
        run.removed += report.removed
        run.read += len(batch.entries)
        run.batches, run.cursor, run.attempts = run.batches + 1, batch.cursor, 0
        run.total = batch.total if batch.total is not None else run.total
        run.validators = {**run.validators, **batch.validators}
        run.certain &= batch.certain
        _note_problems(run, [*batch.problems, *report.problems, *odd])
        _note_newest(run, batch.entries)
        if run.full:
            _note_seen(run, batch)
        run.lease_until = clock.now() + LEASE
        run.save()
    if run.batches > BATCHES_MAX or run.read > ENTRIES_MAX:
        raise SourceRefusedError(
            f"The source lists more than {ENTRIES_MAX} entries.", next_step="Narrow its address down."
        )


def _take(source: importing.SourceRef, entries: tuple[Entry, ...]) -> tuple[importing.ImportReport, list[Problem]]:
    """Hand a batch over. If it cannot be kept as a whole, each entry alone, so that a bad one costs only itself."""
    try:
        with transaction.atomic():
            return importing.take(source, entries), []
    except OperationalError:
        raise
    except _ODD_ENTRY:
        log.warning("batch taken entry by entry", exc_info=True, extra={"subject": str(source.source_id)})
    problems: list[Problem] = []
    report = importing.ImportReport()
    for entry in entries:
        try:
            with transaction.atomic():
                report.add(importing.take(source, [entry]))
        except OperationalError:
            raise
        except _ODD_ENTRY as error:
            problems.append(Problem(source.name, entry.name[:200], "", f"cannot be kept ({type(error).__name__})"))
    return report, problems


def _note_problems(run: SyncRun, problems: list[Problem]) -> None:
    run.problem_count += len(problems)
    room = PROBLEMS_KEPT - len(run.problems)
    run.problems = run.problems + [
        {
            "file": _shown(problem.file, 200),
            "entry": _shown(problem.entry, 200),
            "field": _shown(problem.field, 100),
            "reason": _shown(problem.reason, 300),
        }
        for problem in problems[: max(room, 0)]
    ]


def _shown(text: str, length: int) -> str:
    """Text of a stranger as jsonb takes it: no NUL, no half characters."""
    return str(text)[:length].replace("\x00", "").encode("utf-8", "replace").decode()


def _note_newest(run: SyncRun, entries: tuple[Entry, ...]) -> None:
    """The source's own clock, but never ahead of ours: one date of the far future must not end all increments."""
    moments = [entry.updated_at for entry in entries if entry.updated_at is not None and entry.updated_at.tzinfo]
    if moments:
        newest = min(max(moments), run.started_at or clock.now())
        run.newest = max(newest, run.newest) if run.newest else newest


def _note_seen(run: SyncRun, batch: Batch) -> None:
    # An entry that cannot be read this time is still there.
    names = {entry.name for entry in batch.entries} | {problem.entry for problem in batch.problems if problem.entry}
    rows = [SeenName(run=run, owner_tenant_id=run.owner_tenant_id, name=_shown(name, 300)) for name in names]
    SeenName.objects.bulk_create(rows, ignore_conflicts=True)


def _finish(run: SyncRun, lease: UUID, *, unchanged: bool) -> None:
    with transaction.atomic():
        repository = _lock_source(run)
        _lock(run, lease)
        if unchanged:
            run.note = "Nothing has changed since the last reading."
        elif run.full and not _withdraw_unseen(run, repository):
            _end(
                run,
                repository,
                RunState.FAILED,
                "The source listed nothing, though it did before. Nothing was withdrawn.",
            )
            return
        _end(run, repository, RunState.SUCCESS, "")
        now = clock.now()
        repository.last_sync = now
        repository.watermark = run.newest or repository.watermark
        repository.last_full_sync = now if run.full else repository.last_full_sync
        if run.validators and run.certain:
            repository.validators = run.validators
        repository.server_count = len(importing.names_of(repository.pk))
        repository.save()


def _withdraw_unseen(run: SyncRun, repository: Repository) -> bool:
    """Withdraw what the source no longer lists. False when the whole answer is not to be believed."""
    known = importing.names_of(repository.pk)
    if not known:
        return True
    seen = set(run.seen.values_list("name", flat=True))
    if not seen:
        return False
    gone = sorted(known - seen)
    if gone and not run.certain:
        run.note = f"{len(gone)} entries were not met. They stay listed, because parts of the source could not be read."
        return True
    run.removed += importing.withdraw(source_ref(repository), gone).removed
    return True


def _end(run: SyncRun, repository: Repository, state: RunState, error: str) -> None:
    now = clock.now()
    run.state, run.ended_at, run.lease, run.lease_until = state, now, None, None
    run.note = (error or run.note)[:500]
    run.save()
    run.seen.all().delete()
    interval = rules.interval_of(repository)
    is_good = state == RunState.SUCCESS
    repository.failures = 0 if is_good else min(repository.failures + 1, 1000)
    if is_good:
        repository.failing_told_at = None
    elif repository.failures >= telling.FAILURES_MIN and repository.failing_told_at is None:
        enqueue("repositories.tell_failing", repository_id=str(repository.pk))
    repository.sync_status = SyncStatus.SUCCESS if is_good else SyncStatus.FAILED
    repository.sync_error = error[:500]
    repository.next_sync = now + (interval if is_good else rules.pause_after(repository.failures, interval))
    repository.save()


def _fail(run: SyncRun, lease: UUID, error: str) -> None:
    try:
        with transaction.atomic():
            repository = _lock_source(run)
            _lock(run, lease)
            _end(run, repository, RunState.FAILED, error)
    except LeaseLostError:
        return
    log.warning("source not read", extra={"subject": str(run.repository_id), "why": error})


def _pause(run: SyncRun, lease: UUID, why: str, wait: timedelta) -> None:
    try:
        with transaction.atomic():
            _lock(run, lease)
            run.state, run.resume_at, run.note = RunState.PAUSED, clock.now() + wait, why[:500]
            run.lease, run.lease_until = None, None
            run.save()
    except LeaseLostError:
        return


def _release(run: SyncRun, lease: UUID) -> None:
    """Let the next step take the run at once."""
    with transaction.atomic():
        _lock(run, lease)
        run.state, run.lease, run.lease_until = RunState.WAITING, None, None
        run.save()
        enqueue("repositories.sync", run_id=str(run.pk))


def _lock_source(run: SyncRun) -> Repository:
    """Always before the run: whoever changes a source takes the two in this order."""
    return Repository.objects.select_for_update(of=("self",)).get(pk=run.repository_id)


def _lock(run: SyncRun, lease: UUID) -> None:
    """Hold the run's row for this transaction. Raises LeaseLostError when it is not this worker's any more."""
    mine = SyncRun.objects.select_for_update(of=("self",)).filter(pk=run.pk, lease=lease, state=RunState.RUNNING)
    if mine.first() is None:
        raise LeaseLostError


def due() -> list[Repository]:
    """Sources whose time has come; those of suspended organisations rest."""
    is_time = Q(next_sync=None) | Q(next_sync__lte=clock.now())
    is_live = Q(owner_tenant=None) | Q(owner_tenant__suspended_at=None)
    rows = Repository.objects.filter(is_time, is_live, enabled=True, auto_sync=True, removed_at=None)
    busy = SyncRun.objects.filter(state__in=OPEN_STATES).values("repository_id")
    return [row for row in rows.exclude(pk__in=busy) if rules.is_allowed(row.kind)]


def begin_due() -> int:
    """Open a run for each source whose time has come; how many. One that cannot begin does not keep the others."""
    begun = 0
    for repository in due():
        try:
            begin(repository, reason=RunReason.SCHEDULED)
            begun += 1
        except MarketplaceError as error:
            log.info("source not begun", extra={"subject": str(repository.pk), "why": error.message})
    return begun
