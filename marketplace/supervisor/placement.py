"""Where the embedded servers live and as whom they run.

PostgreSQL refuses to run as root. Started by root, the servers run as an unprivileged user, which must
be able to reach its data and the program files. A checkout in a private home folder is out of its
reach; nobody's folder permissions are changed for that: the data moves to a system folder instead, and
the program files are copied.
"""

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from marketplace.supervisor.errors import StartError

_UNPRIVILEGED = "nobody"
_SYSTEM_HOME = Path("/var/lib/mcp-marketplace")


class _PopenIdentity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class RunUser:
    """The unprivileged account the embedded servers run as."""

    uid: int
    gid: int

    def popen_arguments(self) -> _PopenIdentity:
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give a file or a whole folder to this user."""
        os.chown(path, self.uid, self.gid)
        if path.is_dir():
            for entry in path.rglob("*"):
                os.chown(entry, self.uid, self.gid, follow_symlinks=False)

    def can_reach(self, path: Path) -> bool:
        """Whether the user may enter the folder (or execute the file) and every folder above it."""
        resolved = path.resolve()
        return all(self._may_enter(step.stat()) for step in (resolved, *resolved.parents))

    def _may_enter(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def unprivileged_user() -> RunUser | None:
    """The account to change to; None when we are not root and need no change."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        message = f"Started as root, but there is no user '{_UNPRIVILEGED}' to run PostgreSQL as."
        raise StartError(message) from None
    return RunUser(uid=entry.pw_uid, gid=entry.pw_gid)


def choose_home(data: Path, user: RunUser | None, instance: str) -> Path:
    """The folder for the servers' own files: the data folder, or a system folder when that is private.

    A cluster that exists decides, so that a change of permissions can never start an empty one.
    """
    elsewhere = _SYSTEM_HOME / instance
    if user is None or (data / "postgres").exists():
        return data
    if (elsewhere / "postgres").exists() or not user.can_reach(data):
        elsewhere.mkdir(parents=True, exist_ok=True)
        _SYSTEM_HOME.chmod(0o711)
        elsewhere.chmod(0o711)
        return elsewhere
    return data


def runnable(program: Path, folders: tuple[Path, ...], copy_to: Path, user: RunUser | None) -> Path:
    """The path under which the run user can execute a program.

    `folders` is what has to travel together; their layout relative to each other is kept, because
    programs find their libraries by a path relative to themselves.
    """
    if user is None or user.can_reach(program):
        return program
    root = folders[0].parent
    if not copy_to.exists():
        partial = copy_to.with_name(copy_to.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for folder in folders:
            target = partial / folder.relative_to(root)
            shutil.copytree(folder, target, symlinks=True)
        user.own(partial)
        partial.rename(copy_to)
    return copy_to / program.relative_to(root)
