"""All processes of one instance: started in order, stopped in the opposite order, never left behind."""

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from marketplace.supervisor import identity
from marketplace.supervisor.datafolder import DataFolder, read_json, write_private
from marketplace.supervisor.errors import StartError
from marketplace.supervisor.logs import LogFile
from marketplace.supervisor.process import Liveness, ManagedProcess, ProcessSpec, die_with_parent

_TRIM_LOGS_EVERY_S = 10.0
_ORPHAN_GRACE_S = 5.0
_ORPHAN_POLL_S = 0.05


class Stage(IntEnum):
    """The order of starting; a stop goes backwards, so that nobody loses what it works with."""

    DATABASE = 1
    BROKER = 2
    APPLICATION = 3


@dataclass
class ProcessGroup:
    folder: DataFolder
    _members: list[tuple[Stage, ManagedProcess]] = field(default_factory=list)
    _trimmer: asyncio.Task[None] | None = None

    async def start(self, spec: ProcessSpec, stage: Stage, liveness: Liveness | None = None) -> ManagedProcess:
        """Start a process and keep it running, and answering if a liveness is given; it is not ready yet when this returns."""
        if self._trimmer is None:
            self._trimmer = asyncio.create_task(self._trim_logs(), name="trim logs")
        process = ManagedProcess(spec=spec, log=self._log(spec.name), on_change=self._publish, liveness=liveness)
        self._members.append((stage, process))
        await process.start()
        return process

    async def discard(self, process: ManagedProcess) -> None:
        """Stop one process and forget it."""
        await process.stop()
        self._members = [member for member in self._members if member[1] is not process]
        self._publish()

    async def run_to_end(self, spec: ProcessSpec) -> None:
        """Run a command once; raises StartError with the end of its output when it fails."""
        log = self._log(spec.name)
        log_start, log_fd = log.size(), log.open_for_child()
        try:
            child = await asyncio.create_subprocess_exec(
                *spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                env=dict(spec.env),
                cwd=spec.cwd,
                start_new_session=True,
                preexec_fn=die_with_parent(spec.death_signal),
                **({} if spec.user is None else spec.user.popen_arguments()),
            )
        finally:
            os.close(log_fd)
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
            raise
        if code != 0:
            message = f"{spec.name} failed (exit {code}); see {log.path}.\n{log.tail(since=log_start)}"
            raise StartError(message)

    async def stop(self) -> None:
        """Stop everything, the applications first; when this returns no process is left."""
        for stage in sorted(Stage, reverse=True):
            members = [process for at, process in self._members if at == stage]
            await asyncio.gather(*(process.stop() for process in members))
        if self._trimmer is not None:
            self._trimmer.cancel()
            self._trimmer = None
        self._members.clear()
        self._publish()

    def kill(self) -> None:
        """End everything at once; PostgreSQL and Valkey recover from that at the next start."""
        for _, process in self._members:
            process.kill()

    def reap(self) -> None:
        """End what a killed supervisor left on this folder. Call only while holding the folder."""
        report = read_json(self._report_path) or {}
        left = [
            entry
            for entry in report.get("processes", [])
            if entry["pid"] and identity.start_mark(entry["pid"]) == entry["start_mark"]
        ]
        for number, grace_s in ((signal.SIGINT, _ORPHAN_GRACE_S), (signal.SIGKILL, 1.0)):
            left = _signal_and_wait(left, number, grace_s)

    @property
    def _report_path(self) -> Path:
        return self.folder.run / "processes.json"

    def _publish(self) -> None:
        processes = [
            {
                "name": process.spec.name,
                "pid": process.status.pid,
                "started_at": process.status.started_at and process.status.started_at.isoformat(),
                "restarts": process.status.restarts,
                "hung": process.status.hung,
                "start_mark": process.status.pid and identity.start_mark(process.status.pid),
            }
            for _, process in self._members
        ]
        report = {"supervisor": os.getpid(), "processes": processes}
        write_private(self._report_path, json.dumps(report, indent=1))

    def _log(self, name: str) -> LogFile:
        return LogFile(self.folder.logs / f"{name}.log")

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(_TRIM_LOGS_EVERY_S)
            for _, process in self._members:
                # A full disk must not end the supervisor; the next round tries again.
                with contextlib.suppress(OSError):
                    process.log.trim()


def _signal_and_wait(
    entries: list[dict[str, object]], number: signal.Signals, grace_s: float
) -> list[dict[str, object]]:
    """Signal orphaned processes and wait for their end; returns those that are still there."""
    for entry in entries:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(str(entry["pid"])), number)
    deadline = time.monotonic() + grace_s
    while entries and time.monotonic() < deadline:
        entries = [entry for entry in entries if identity.start_mark(int(str(entry["pid"]))) == entry["start_mark"]]
        if entries:
            time.sleep(_ORPHAN_POLL_S)
    return entries
