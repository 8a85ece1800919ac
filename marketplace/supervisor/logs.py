"""One log file per process, bounded in size.

Processes write straight into the file, opened for append: nothing they say passes through the
supervisor, so a busy or stopped supervisor can never block them. The price is that a file which grew
too large is copied and cut, and a line written between the two is lost.
"""

import contextlib
import os
import shutil
from pathlib import Path

MAX_BYTES = 5_000_000


class LogFile:
    """The log of one process; the generation before it is kept beside it as <name>.log.1."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open_for_child(self) -> int:
        """A file descriptor to hand to a child; the caller closes it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.open(self.path, flags, 0o600)

    def note(self, line: str) -> None:
        """A line of the supervisor's own, between those of the process. A full disk loses it and nothing else."""
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def trim(self) -> None:
        if not self.path.exists() or self.size() <= MAX_BYTES:
            return
        shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
        os.truncate(self.path, 0)

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def text_since(self, offset: int) -> str:
        """What was written after the offset; all of it when the file was cut in between."""
        with self.path.open("rb") as file:
            file.seek(offset if offset <= self.size() else 0)
            return file.read().decode("utf-8", errors="replace")

    def tail(self, lines: int = 12, *, since: int = 0) -> str:
        if not self.path.exists():
            return ""
        return "\n".join(self.text_since(since).rstrip().splitlines()[-lines:])
