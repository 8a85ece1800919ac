"""One supervised process: started, watched, started again when it dies, stopped in bounded time."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from marketplace.supervisor.backoff import Backoff
from marketplace.supervisor.errors import ExitedError, StartError
from marketplace.supervisor.logs import LogFile
from marketplace.supervisor.placement import RunUser

Probe = Callable[[], Awaitable[bool]]

_PROBE_EVERY_S = 0.05
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PARENT_GONE_EXIT = 75  # EX_TEMPFAIL: the parent died between fork and exec
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """What to run and how to treat it."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    user: RunUser | None = None
    pass_fds: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float = 10.0
    # What the kernel sends when the supervisor itself is gone (Linux; elsewhere the next start reaps).
    death_signal: signal.Signals = signal.SIGKILL
    ready_timeout_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Liveness:
    """A running process is hung when its probe said no so often in a row, after a first yes or the time to get ready."""

    probe: Probe
    every_s: float
    misses: int


@dataclass
class ProcessStatus:
    """What others may know about a process; written to run/processes.json."""

    pid: int | None = None
    started_at: datetime | None = None
    restarts: int = 0
    hung: int = 0


@dataclass
class ManagedProcess:
    """Keeps one process running until it is told to stop."""

    spec: ProcessSpec
    log: LogFile
    on_change: Callable[[], None]
    status: ProcessStatus = field(default_factory=ProcessStatus)
    liveness: Liveness | None = None
    log_start: int = 0
    _guard: asyncio.Task[None] | None = None
    _child: asyncio.subprocess.Process | None = None
    _keeper: asyncio.Task[None] | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _first_exit: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Start the process; a program that cannot be executed raises StartError."""
        self.log_start = self.log.size()
        try:
            await self._spawn()
        except OSError as error:
            message = f"{self.spec.name} cannot be started: {error}."
            raise StartError(message) from error
        self._keeper = asyncio.create_task(self._keep_running(), name=f"keep {self.spec.name}")
        if self.liveness is not None:
            self._guard = asyncio.create_task(self._end_when_hung(self.liveness), name=f"guard {self.spec.name}")

    async def wait_ready(self, probe: Probe) -> None:
        """Return once the probe says yes. Raises ExitedError when the process ends before that."""
        deadline = time.monotonic() + self.spec.ready_timeout_s
        while not await probe():
            if self._first_exit.is_set():
                raise ExitedError(self._explain("ended before it was ready"))
            if time.monotonic() > deadline:
                raise StartError(self._explain(f"not ready after {self.spec.ready_timeout_s:.0f} s"))
            await asyncio.sleep(_PROBE_EVERY_S)

    async def stop(self) -> None:
        """Ask the process to stop, and end it when its grace is over. Nothing of its group remains."""
        self._stopping.set()
        if self._guard is not None:
            self._guard.cancel()
        self._signal(self.spec.stop_signal)
        if self._keeper is None:
            return
        done, _ = await asyncio.wait({self._keeper}, timeout=self.spec.stop_grace_s)
        if not done:
            self.kill()
        await self._keeper

    def kill(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGKILL)

    async def _keep_running(self) -> None:
        backoff = Backoff()
        while True:
            ran_for_s = await self._watch()
            if self._stopping.is_set():
                return
            delay_s = backoff.next_delay_s(ran_for_s=ran_for_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            if self._stopping.is_set():
                return
            self.status.restarts += 1
            await self._respawn()

    async def _end_when_hung(self, liveness: Liveness) -> None:
        """Kill a child that runs and does not answer, so that it is started again. A stopped one hears no other signal."""
        watched: int | None = None
        misses, has_answered, since = 0, False, 0.0
        while not self._stopping.is_set():
            await asyncio.sleep(liveness.every_s)
            if self.status.pid != watched:
                watched, misses, has_answered, since = self.status.pid, 0, False, time.monotonic()
            if watched is None:
                continue
            if await liveness.probe():
                misses, has_answered = 0, True
            elif has_answered or time.monotonic() - since > self.spec.ready_timeout_s:
                misses += 1
            if misses >= liveness.misses and self.status.pid == watched and not self._stopping.is_set():
                self._end_hung(liveness)

    def _end_hung(self, liveness: Liveness) -> None:
        self.status.hung += 1
        seconds = liveness.every_s * liveness.misses
        self.log.note(f"supervisor: {self.spec.name} has not answered for {seconds:.0f} s; it is started again")
        self._signal(signal.SIGKILL)

    async def _respawn(self) -> None:
        # The program can vanish for a moment (an upgrade of the environment): that is one more death.
        with contextlib.suppress(OSError):
            await self._spawn()
        if self._stopping.is_set():
            self._signal(self.spec.stop_signal)

    async def _spawn(self) -> None:
        spec = self.spec
        identity = {} if spec.user is None else spec.user.popen_arguments()
        log_fd = self.log.open_for_child()
        try:
            self._child = await asyncio.create_subprocess_exec(
                *spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                env=dict(spec.env),
                cwd=spec.cwd,
                pass_fds=spec.pass_fds,
                start_new_session=True,
                preexec_fn=die_with_parent(spec.death_signal),
                **identity,
            )
        finally:
            os.close(log_fd)
        self.status.pid = self._child.pid
        self.status.started_at = datetime.now(UTC)
        self.on_change()

    async def _watch(self) -> float:
        """Wait for the end of the child; how long it ran, in seconds."""
        started = time.monotonic()
        if self._child is not None:
            await self._child.wait()
            _kill_group(self._child.pid)
        self._child = None
        self._first_exit.set()
        self.status.pid = None
        self.on_change()
        return time.monotonic() - started

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)

    def _explain(self, what: str) -> str:
        tail = self.log.tail(since=self.log_start)
        said = f" Its last words:\n{tail}" if tail else ""
        return f"{self.spec.name}: {what}; see {self.log.path}.{said}"


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """A function for the child, between fork and exec: ask the kernel to signal it when we are gone.

    Runs after the change of user, which would clear the request (prctl(2), PR_SET_PDEATHSIG).
    """
    if _LIBC is None:
        return None
    parent, prctl = os.getpid(), _LIBC.prctl

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(_PARENT_GONE_EXIT)

    return ask_kernel


def _kill_group(pid: int) -> None:
    """End what a dead process left in its own session, for example pool workers of a killed master."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
