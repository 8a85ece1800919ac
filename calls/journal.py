"""The files of one process that must not lose a call, and those that dead processes left: intents and spool, side by side.

A process owns `<name>.intents` by a file lock for as long as it lives; whoever gets that lock later knows that the owner is dead
and may take over. A dead process's spooled rows go first: they are complete, and an intent of the same call only says "unknown".
Closed: without room for the intents no call is let in.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from calls import intents, spool
from calls.intents import IntentSlots
from calls.record import CallRecord
from calls.spool import Spool

log = logging.getLogger(__name__)

_INTENTS, _SPOOL, _REFUSED = ".intents", ".spool", "refused.rows"


@dataclass(slots=True)
class Orphan:
    """What a dead process left, locked by us until it is finished or released."""

    path: Path
    fd: int

    def rows(self) -> Iterator[CallRecord]:
        """Its spooled rows in order, then the calls that were under way. Raises OSError when they cannot be read."""
        with contextlib.suppress(FileNotFoundError):
            for _, record in spool.read_rows(self.path.with_suffix(_SPOOL).read_bytes()):
                yield record
        yield from intents.read_slots(self.path)

    def finish(self) -> None:
        """Everything is in the table: the files go."""
        with contextlib.suppress(FileNotFoundError):
            self.path.with_suffix(_SPOOL).unlink()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.release()

    def release(self) -> None:
        """Let go; whoever comes next tries again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Journal:
    """Open it before the first call and close it after the last."""

    def __init__(
        self,
        folder: Path,
        *,
        slots: int = intents.SLOTS,
        limit_bytes: int = spool.LIMIT_BYTES,
        limit_age_s: float = spool.LIMIT_AGE_S,
    ) -> None:
        self._folder, self._slot_count = folder, slots
        self._name = f"{os.getpid()}-{uuid4().hex[:12]}"
        self._fd = -1
        self.slots: IntentSlots | None = None
        self.spool = Spool(folder / f"{self._name}{_SPOOL}", limit_bytes=limit_bytes, limit_age_s=limit_age_s)

    @property
    def is_open(self) -> bool:
        return self.slots is not None

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._name}{_INTENTS}"

    def open(self) -> None:
        """Make our files. Raises OSError when there is no room; may be tried again."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if not _is_at(fd, self._path):
                    # Somebody took the file for a dead one's before we had the lock.
                    os.close(fd)
                    continue
                self.slots = IntentSlots(fd, self._slot_count)
                spool.sync_folder(self._folder)
            except OSError:
                self._path.unlink(missing_ok=True)
                os.close(fd)
                raise
            self._fd = fd
            return

    def close(self) -> None:
        """Let go of the files. What is owed stays for the next process; nothing owed leaves nothing."""
        if self.slots is None:
            return
        is_clean = self.slots.in_use == 0 and self.spool.is_empty
        self.slots.close()
        self.slots = None
        self.spool.close()
        if is_clean:
            self.spool.path.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1

    def orphans(self) -> Iterator[Orphan]:
        """Files of dead processes, each locked for us until it is finished or released."""
        for path in sorted(self._folder.glob(f"*{_INTENTS}")):
            if path == self._path:
                continue
            with contextlib.suppress(OSError):
                if (orphan := _adopt(path)) is not None:
                    yield orphan
        yield from self._stray_spools()

    def keep_refused(self, record: CallRecord) -> None:
        """A row that the table will never take, such as one of an organisation that is gone: kept for the operator."""
        with contextlib.suppress(OSError), (self._folder / _REFUSED).open("ab") as file:
            file.write(spool.frame(spool.encode_row(record)))

    def _stray_spools(self) -> Iterator[Orphan]:
        """A spool whose intents are gone already: its owner's files were finished only half."""
        for path in sorted(self._folder.glob(f"*{_SPOOL}")):
            intents_path = path.with_suffix(_INTENTS)
            if path != self.spool.path and not intents_path.exists():
                with contextlib.suppress(OSError):
                    intents_path.touch(mode=0o600, exist_ok=False)
                    if (orphan := _adopt(intents_path)) is not None:
                        yield orphan


def _adopt(path: Path) -> Orphan | None:
    """None when its owner lives, or somebody else was quicker."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(fd, path):
            os.close(fd)
            return None
    except OSError:
        os.close(fd)
        return None
    return Orphan(path, fd)


def _is_at(fd: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
