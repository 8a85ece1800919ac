"""Tells one process from a later one that got the same pid."""

import subprocess
from pathlib import Path

_PROC = Path("/proc")
# Fields of /proc/<pid>/stat counted after the command name, which may itself hold spaces (proc(5)).
_STATE_FIELD = 0
_START_TICKS_FIELD = 19


def start_mark(pid: int) -> str | None:
    """The moment the process started, as text to compare; None when no such process runs.

    A zombie counts as gone: it holds no port and no file, and where nobody reaps it stays for ever.
    """
    if (_PROC / "self" / "stat").exists():
        return _mark_from_proc(pid)
    return _mark_from_ps(pid)


def _mark_from_proc(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[_STATE_FIELD] in {"Z", "X"} else fields[_START_TICKS_FIELD]


def _mark_from_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    state, _, started = answer.partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def command_of(pid: int) -> str:
    """The name of the program a process runs, empty when it is gone."""
    command = ["ps", "-o", "comm=", "-p", str(pid)]
    try:
        return (_PROC / str(pid) / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        pass
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return Path(listed.stdout.strip()).name
