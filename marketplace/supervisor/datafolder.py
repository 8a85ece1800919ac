"""The data folder of one instance: who holds it, its secrets, its ports, and what runs on it.

logs/                 one file per process
run/supervisor.lock   held as long as a supervisor runs on the folder
run/processes.json    what runs; also how the next start finds what a crash left behind
run/ports.json        the ports chosen at the first start
run/instance.env      the environment of the processes, for use by hand (private)
secrets.env           generated once (private)
postgres/ valkey/     the embedded servers' files
"""

import fcntl
import json
import os
import secrets
import shlex
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from marketplace.supervisor.errors import StartError
from marketplace.supervisor.ports import bound, free_port, is_free, port_of

# A fresh cluster with its write-ahead log takes 60 MB; the rest is room for the demo and the logs.
_NEEDED_BYTES = 200_000_000
_SECRET_NAMES = (
    "INSTANCE",
    "MARKETPLACE_SECRET_KEY",
    "POSTGRES_SUPERUSER_PASSWORD",
    "POSTGRES_PASSWORD",
    "VALKEY_PASSWORD",
)


@dataclass
class DataFolder:
    path: Path
    _lock: IO[str] | None = field(default=None, repr=False)

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def mailbox(self) -> Path:
        """Mails of a development installation: they hold the codes that sign people in."""
        return self.path / "mailbox"

    def prepare(self) -> None:
        """Create the folder; raises StartError when it cannot be written or the disk is full."""
        try:
            self._create()
            free_bytes = shutil.disk_usage(self.path).free
        except OSError as error:
            reason = error.strerror or "not writable"
            message = f"The data folder {self.path} cannot be used ({reason}): choose one with --data."
            raise StartError(message) from error
        if free_bytes < _NEEDED_BYTES:
            message = (
                f"Only {free_bytes // 1_000_000} MB are free under {self.path}: free at least "
                f"{_NEEDED_BYTES // 1_000_000} MB, or choose another disk with --data."
            )
            raise StartError(message)

    def _create(self) -> None:
        if not self.path.exists():
            self.path.mkdir(parents=True)
            # The unprivileged servers pass through to their own folders; they cannot list this one.
            self.path.chmod(0o711)
        for private in (self.logs, self.run, self.mailbox):
            private.mkdir(mode=0o700, exist_ok=True)
        probe = self.run / "write-test"
        probe.write_text("ok", encoding="ascii")
        probe.unlink()

    def claim(self) -> None:
        """Hold the folder for this process; the kernel lets go of it however the process ends."""
        lock = (self.run / "supervisor.lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            message = (
                f"Another instance (pid {holder}) runs on {self.path}: stop it, "
                "or give this one a folder of its own with --data."
            )
            raise StartError(message) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def secrets(self) -> dict[str, str]:
        """The instance's secrets, generated at the first start and kept."""
        path = self.path / "secrets.env"
        known = read_env_file(path) if path.exists() else {}
        missing = {name: secrets.token_hex(32) for name in _SECRET_NAMES if name not in known}
        if missing:
            known |= missing
            write_env_file(path, known)
        return known

    def port(self, name: str, *, avoid: int | None = None) -> int:
        """The remembered port of a server; another free one when it is taken or to be avoided."""
        ports = self._ports()
        port = ports.get(name)
        if port is None or port == avoid or not is_free(port):
            port = free_port(avoid=ports.values())
            self._remember(name, port)
        return port

    def listen(self, name: str) -> socket.socket:
        """A listening socket on the remembered port; on another free one when it is taken."""
        try:
            listener = bound(self._ports().get(name, 0))
        except OSError:
            listener = bound(0)
        self._remember(name, port_of(listener))
        return listener

    def _ports(self) -> dict[str, int]:
        return read_json(self.run / "ports.json") or {}

    def _remember(self, name: str, port: int) -> None:
        write_private(self.run / "ports.json", json.dumps({**self._ports(), name: port}))


def read_json(path: Path) -> Any:
    """The content of a JSON file; None when there is none or a crash left half of it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_env_file(path: Path, values: Mapping[str, str]) -> None:
    """Write NAME=value lines, quoted so that a shell can read them too."""
    write_private(path, "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()))


def read_env_file(path: Path) -> dict[str, str]:
    """The NAME=value lines of a file, read as a shell would; comments and blank lines are skipped."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): "".join(shlex.split(value)) for name, _, value in pairs}
