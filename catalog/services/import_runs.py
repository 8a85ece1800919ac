"""Imports that operators ask for on a page: kept as rows, done by jobs, with progress and a report that stays."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction

from audit import services as audit
from catalog.choices import ImportState
from catalog.models import ImportRun
from catalog.services import files
from catalog.services.files import FileReport
from catalog.services.importing import ImportReport
from core import clock
from core.errors import InvalidError, MarketplaceError
from core.jobs import enqueue
from tenants.context import platform_scope

log = logging.getLogger(__name__)

PROBLEMS_KEPT = 1_000
# A job goes on in another before its time limit of 240 s ends it.
SECONDS_PER_JOB = 150
STALE = timedelta(minutes=6)


def request_upload(run: ImportRun, upload: BinaryIO, size: int) -> ImportRun:
    """Keep an uploaded file and have it taken. Raises InvalidError for a file that is too large or empty."""
    if not 0 < size <= settings.IMPORT_UPLOAD_MIB * 2**20:
        raise InvalidError(
            f"The file must hold 1 byte to {settings.IMPORT_UPLOAD_MIB} MiB.",
            code="catalog.import_large",
            next_step="Import larger ones with manage.py import_catalog.",
            field="upload",
        )
    run.content = upload.read()
    run.files_total = 1
    return _request(run)


def request_folder(run: ImportRun, folder: str) -> ImportRun:
    """Have the files of a folder taken. Raises InvalidError for a folder that the installation does not allow."""
    if folder not in settings.IMPORT_FOLDERS or not Path(folder).is_dir():
        raise InvalidError(
            "This folder is not open to imports.",
            code="catalog.import_folder",
            next_step="Name it in MARKETPLACE_IMPORT_FOLDERS.",
            field="folder",
        )
    run.file_name = folder
    return _request(run)


def go_on(run_id: str) -> None:
    """Take up an import whose job came to an end before it did: what was taken costs little the second time."""
    with platform_scope(), transaction.atomic():
        run = ImportRun.objects.select_for_update().get(pk=run_id)
        if is_stuck(run) or run.state == ImportState.FAILED:
            run.state, run.error, run.finished_at = ImportState.WAITING, "", None
            run.save(update_fields=["state", "error", "finished_at", "updated_at"])
            enqueue("catalog.run_import", run_id=str(run.pk))


def is_stuck(run: ImportRun) -> bool:
    is_open = run.state in {ImportState.WAITING, ImportState.RUNNING}
    return is_open and clock.now() - run.updated_at > STALE


def run(run_id: str) -> None:
    """Do an import, or a part of it. Done twice, the second time changes nothing."""
    with platform_scope(), transaction.atomic():
        found = (
            ImportRun.objects.select_for_update(skip_locked=True).filter(pk=run_id, state=ImportState.WAITING).first()
        )
        if found is None:
            return
        found.state, found.started_at = ImportState.RUNNING, found.started_at or clock.now()
        found.save(update_fields=["state", "started_at", "updated_at"])
    try:
        _take(found)
    except MarketplaceError as error:
        _end(found, ImportState.FAILED, f"{error.message} {error.next_step}".strip())
    except Exception:
        log.exception("import failed", extra={"job": "catalog.run_import"})
        _end(
            found, ImportState.FAILED, "The import broke off; the log of the worker says why. It can be taken up again."
        )


def _request(run: ImportRun) -> ImportRun:
    files.source_named(run.source_name, kind=run.source_kind, trust=run.source_trust)
    with platform_scope(), transaction.atomic():
        run.save()
        enqueue("catalog.run_import", run_id=str(run.pk))
    return run


def _take(run: ImportRun) -> None:
    source = files.source_named(run.source_name, kind=run.source_kind, trust=run.source_trust, priority=run.priority)
    began = time.monotonic()
    for each in _reports(run, source):
        _note(run, each)
        if time.monotonic() - began > SECONDS_PER_JOB and run.files_done < (run.files_total or 0):
            run.state = ImportState.WAITING
            with platform_scope(), transaction.atomic():
                run.save(update_fields=["state", "updated_at"])
                enqueue("catalog.run_import", run_id=str(run.pk))
            return
    _end(run, ImportState.DONE)
    total = ImportReport(run.created, run.updated, run.unchanged, run.servers, run.merged, run.removed)
    files.record(source, total, audit.Party("operator", run.requested_by, run.requested_by))


def _reports(run: ImportRun, source: files.SourceRef) -> Iterable[FileReport]:
    if run.content is not None:
        yield files.import_content(source, bytes(run.content), run.file_name, on_batch=lambda part: _count(run, part))
        return
    root = Path(run.file_name).resolve()
    found = files.find_files(root)
    run.files_total = len(found)
    for file in found[run.files_done :]:
        each = files.import_file(source, file, str(file.relative_to(root)))
        _count(run, each.report)
        yield each


def _count(run: ImportRun, part: ImportReport) -> None:
    """Add what a batch or a file brought, for all to see."""
    names = ["created", "updated", "unchanged", "servers", "merged", "removed"]
    for name in names:
        setattr(run, name, getattr(run, name) + getattr(part, name))
    with platform_scope():
        run.save(update_fields=[*names, "files_total", "updated_at"])


def _note(run: ImportRun, each: FileReport) -> None:
    run.files_done += 1
    run.entries_read += each.read
    run.problem_count += len(each.report.problems)
    room = PROBLEMS_KEPT - len(run.problems)
    run.problems += [
        {"file": problem.file, "entry": problem.entry, "field": problem.field, "reason": problem.reason}
        for problem in each.report.problems[:room]
    ]
    with platform_scope():
        run.save(update_fields=["files_done", "entries_read", "problem_count", "problems", "updated_at"])


def _end(run: ImportRun, state: ImportState, error: str = "") -> None:
    run.state, run.error, run.finished_at = state, error[:300], clock.now()
    if state == ImportState.DONE:
        run.content = None
    with platform_scope():
        run.save(update_fields=["state", "error", "finished_at", "content", "updated_at"])
