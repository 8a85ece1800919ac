"""What every benchmark needs: cores to pin to, child processes that never outlive it, and the programs it runs.

One core belongs to the subject that is measured, another to everything else, so that the subject's speed is what its one core
gives. The benchmark itself moves to the other core first; whatever it starts inherits that unless told otherwise.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from marketplace.supervisor.process import die_with_parent
from marketplace.supervisor.terminal import say

ROOT = Path(__file__).resolve().parents[1]
_STOP_GRACE_S = 10.0
_POLL_S = 0.05
_POLICY = Path("/usr/sbin/policy-rc.d")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The benchmark cannot run or its result cannot be trusted. The message says what to do."""


@dataclass(frozen=True)
class Cores:
    subject: int
    others: int


def claim_cores() -> Cores:
    """Move this process, and all that it will start, to one core, and keep another free for the subject."""
    if not hasattr(os, "sched_setaffinity"):
        raise BenchError("Processes are pinned to cores for this measurement: run it on Linux.")
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise BenchError("One core measures and one is measured: this machine offers only one.")
    cores = Cores(subject=available[0], others=available[1])
    os.sched_setaffinity(0, {cores.others})
    return cores


def raise_file_limit(wanted: int) -> None:
    """Let this process, and all that it will start, open so many files. Raises BenchError where the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted, max(hard, wanted) if hard != resource.RLIM_INFINITY else hard)
        )
    except (ValueError, OSError) as error:
        raise BenchError(f"This measurement opens {wanted} files, the system allows {hard}: ulimit -Hn") from error


@dataclass
class Child:
    """A process of this benchmark, on one core."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def cpu_s(self) -> float:
        """Processor seconds used so far, all threads (proc(5): fields 14 and 15)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def wait_until(self, ready: Callable[[], bool], *, deadline_s: float = 60.0) -> None:
        """Raises BenchError with the end of its log when the process ends or the deadline passes first."""
        limit = time.monotonic() + deadline_s
        while not ready():
            if self.process.poll() is not None or time.monotonic() > limit:
                raise BenchError(f"{self.name} did not become ready. Its last words:\n{self.tail()}")
            time.sleep(_POLL_S)

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    folder: Path,
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[Child]:
    """A child process until the block ends; it dies with us however we end."""
    log = folder / f"{name}.log"
    with log.open("ab") as output, _on_core(core):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - touches nothing that a thread may hold
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop()


@contextlib.contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    """A child inherits the cores of the thread that starts it."""
    if core is None:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for servers and logs, which the unprivileged account of the servers can pass through."""
    with tempfile.TemporaryDirectory(prefix="marketplace-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def need_programs(*names: str) -> None:
    """Make sure that programs are there, installing Debian packages of the same name when that is possible and allowed."""
    missing = [name for name in names if not _find(name)]
    if not missing:
        return
    words = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise BenchError(f"This measurement needs {words}: install them with your system's package manager.")
    if os.geteuid() != 0:
        raise BenchError(f"This measurement needs {words}: sudo apt-get install {words}")
    say(f"Installing {words} …")
    with _services_stay_off():
        for command in (("update",), ("install", "--no-install-recommends", "-y", *missing)):
            done = subprocess.run(
                ("apt-get", "-qq", *command),
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise BenchError(f"apt-get could not install {words}:\n{(done.stderr or done.stdout).strip()[-1000:]}")


def program(name: str) -> str:
    found = _find(name)
    if found is None:
        raise BenchError(f"This measurement needs {name}.")
    return found


def _find(name: str) -> str | None:
    # Servers live in sbin, which the search path of an ordinary account may lack.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def _services_stay_off() -> Iterator[None]:
    """Debian starts a freshly installed server at once, unless this script says no (policy-rc.d)."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
