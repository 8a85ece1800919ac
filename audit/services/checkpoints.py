"""Signed checkpoints of the chains, kept outside: what a log was cannot be unsaid, not even by who holds the database.

Each is a row of the log's schema and a line of a file in `AUDIT_ANCHOR_DIR`, one file a log, which belongs on other storage. Who
wants to hold them too downloads them or hears of them by a webhook.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction

from audit import chain, signals
from audit.models import AuditCheckpoint, AuditEvent
from audit.services.events import active_log
from audit.statements import NotAStatementError, Signer, Statement, StatementKind, read
from core import clock
from core.jobs import on_commit

log = logging.getLogger(__name__)

_ALL_KEPT = timedelta(days=7)


@functools.cache
def signer() -> Signer:
    return Signer(settings.AUDIT_SIGNING_SEED)


def make() -> Statement | None:
    """State the end of the active schema's chain, here and outside; None when nothing was added since the last time."""
    last = AuditEvent.objects.order_by("-sequence").values_list("sequence", "hash").first()
    stated = AuditCheckpoint.objects.values_list("sequence", flat=True).first() or 0
    if last is None or last[0] <= stated:
        return None
    return state(StatementKind.HEAD, chain.Point(last[0], bytes(last[1])))


def state(kind: StatementKind, point: chain.Point) -> Statement:
    """Sign and keep a statement about the active schema's chain."""
    statement = signer().sign(kind, active_log(), point, clock.now())
    with transaction.atomic():
        AuditCheckpoint.objects.create(kind=kind, sequence=point.sequence, statement=statement.line())
        on_commit(functools.partial(anchor, statement))
        on_commit(functools.partial(signals.checkpoint_made.send_robust, sender=None, statement=statement))
    return statement


def anchor(statement: Statement) -> None:
    """Add a statement to the file of its log, and have it on the disk. A failure is an alarm; the next one says as much."""
    path = anchor_file(statement.log)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, statement.line().encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError:
        log.exception("audit checkpoint not anchored", extra={"schema": statement.log})


def anchor_file(name: str) -> Path | None:
    return settings.AUDIT_ANCHOR_DIR / f"{name}.jsonl" if settings.AUDIT_ANCHOR_DIR else None


def known() -> Iterator[Statement | str]:
    """Every statement about the active schema's chain, from its rows and its file; a text says what is none, and why."""
    held = set(AuditCheckpoint.objects.values_list("statement", flat=True))
    for text in held:
        yield _read(text, "a checkpoint in the database")
    path = anchor_file(active_log())
    if path is not None and path.exists():
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                # A line that was cut short says nothing, and one that the database has too was read already.
                if line.endswith("\n") and line.rstrip("\n") not in held:
                    yield _read(line, f"a line of {path.name}")


def newest() -> Statement | None:
    """The last checkpoint of the active schema's chain, to be kept by whoever wants to."""
    text = AuditCheckpoint.objects.values_list("statement", flat=True).first()
    found = _read(text, "the checkpoint") if text else None
    return found if isinstance(found, Statement) else None


def thin_out() -> int:
    """Of checkpoints of long ago keep one a day and every cut; how many rows went. The files keep them all."""
    old = AuditCheckpoint.objects.filter(kind=StatementKind.HEAD, at__lt=clock.now() - _ALL_KEPT)
    last_of_day = {at.date(): pk for pk, at in old.order_by("sequence").values_list("pk", "at")}
    return old.exclude(pk__in=list(last_of_day.values())).delete()[0]


def read_ours(text: str) -> Statement:
    """A checkpoint that somebody kept. Raises NotAStatementError for what this installation did not sign."""
    return read(text, [signer().public])


def _read(text: str, where: str) -> Statement | str:
    try:
        return read_ours(text)
    except NotAStatementError as error:
        return f"{where} does not hold. {error}"
