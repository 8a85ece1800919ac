"""Supervision with cheap stand-in processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from marketplace.supervisor.datafolder import DataFolder, read_json
from marketplace.supervisor.errors import ExitedError, StartError
from marketplace.supervisor.group import ProcessGroup, Stage
from marketplace.supervisor.identity import start_mark
from marketplace.supervisor.probes import Heartbeat
from marketplace.supervisor.process import Liveness, ManagedProcess, ProcessSpec
from tests.support.processes import is_running, wait_until, wait_until_gone
from tests.support.stack import ROOT

Scenario = Callable[[ProcessGroup], Awaitable[None]]


@pytest.fixture
def group(tmp_path: Path) -> ProcessGroup:
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    return ProcessGroup(folder)


def run(group: ProcessGroup, scenario: Scenario) -> None:
    async def main() -> None:
        try:
            await scenario(group)
        finally:
            await group.stop()

    asyncio.run(main())


def shell(name: str, script: str) -> ProcessSpec:
    return ProcessSpec(name=name, argv=("sh", "-c", script), env={"PATH": os.environ["PATH"]}, cwd=Path("/"))


def sleeper(name: str = "sleeper") -> ProcessSpec:
    return shell(name, "exec sleep 1000")


async def another_pid(process: ManagedProcess, than: int) -> int:
    async with asyncio.timeout(30):
        while process.status.pid in {None, than}:
            await asyncio.sleep(0.02)
    assert process.status.pid is not None
    return process.status.pid


def test_a_killed_process_is_started_again_and_counted(group: ProcessGroup) -> None:
    async def scenario(group: ProcessGroup) -> None:
        process = await group.start(sleeper(), Stage.APPLICATION)
        first = process.status.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        second = await another_pid(process, than=first)
        assert is_running(second)
        assert process.status.restarts == 1
        report = read_json(group.folder.run / "processes.json")
        assert [(each["name"], each["pid"], each["restarts"]) for each in report["processes"]] == [
            ("sleeper", second, 1)
        ]

    run(group, scenario)


def test_a_stop_leaves_no_process_even_of_one_that_ignores_the_signal(group: ProcessGroup) -> None:
    pids: list[int] = []

    async def scenario(group: ProcessGroup) -> None:
        script = "trap '' TERM; sleep 1000 & echo child $!; while :; do wait; done"
        process = await group.start(replace(shell("deaf", script), stop_grace_s=0.3), Stage.APPLICATION)
        await says(process, "child")
        assert process.status.pid is not None
        pids.extend([process.status.pid, int(process.log.tail(1).split()[1])])

    run(group, scenario)
    assert len(pids) == 2
    wait_until_gone(pids)


def test_applications_stop_before_the_broker_and_the_broker_before_the_database(
    group: ProcessGroup, tmp_path: Path
) -> None:
    order = tmp_path / "order"

    def recorder(name: str) -> ProcessSpec:
        return shell(name, f"trap 'echo {name} >> {order}; exit' TERM; echo set; while :; do sleep 0.05; done")

    async def scenario(group: ProcessGroup) -> None:
        for name, stage in (("db", Stage.DATABASE), ("app", Stage.APPLICATION), ("broker", Stage.BROKER)):
            process = await group.start(recorder(name), stage)
            await says(process, "set")

    run(group, scenario)
    assert order.read_text(encoding="ascii").split() == ["app", "broker", "db"]


async def says(process: ManagedProcess, words: str) -> None:
    async def said() -> bool:
        return words in process.log.text_since(process.log_start)

    await process.wait_ready(said)


def test_a_process_that_ends_before_it_is_ready_is_reported_with_its_last_words(group: ProcessGroup) -> None:
    async def scenario(group: ProcessGroup) -> None:
        process = await group.start(shell("broken", "echo no configuration; exit 3"), Stage.APPLICATION)
        with pytest.raises(ExitedError, match=r"broken: ended before it was ready.*\n.*no configuration"):
            await process.wait_ready(never)

    run(group, scenario)


async def never() -> bool:
    return False


def beating(path: Path, first_after_s: float = 0) -> ProcessSpec:
    return shell("beating", f"sleep {first_after_s}; while :; do echo beat >> {path}; sleep 0.02; done")


def watched(path: Path) -> Liveness:
    heartbeat = Heartbeat(path)

    async def lives() -> bool:
        return heartbeat.has_beaten()

    # Far apart enough that a busy machine lets a healthy process beat in between.
    return Liveness(probe=lives, every_s=0.5, misses=3)


def test_a_process_that_hangs_is_started_again_and_counted(group: ProcessGroup, tmp_path: Path) -> None:
    async def scenario(group: ProcessGroup) -> None:
        process = await group.start(beating(tmp_path / "beat"), Stage.APPLICATION, watched(tmp_path / "beat"))
        first = process.status.pid
        assert first is not None
        async with asyncio.timeout(30):
            while not (tmp_path / "beat").exists():
                await asyncio.sleep(0.02)
        os.kill(first, signal.SIGSTOP)
        second = await another_pid(process, than=first)
        assert is_running(second)
        assert (process.status.restarts, process.status.hung) == (1, 1)
        assert "beating has not answered for 2 s; it is started again" in process.log.tail()
        wait_until_gone([first])

    run(group, scenario)


def test_a_process_that_answers_is_left_alone(group: ProcessGroup, tmp_path: Path) -> None:
    async def scenario(group: ProcessGroup) -> None:
        process = await group.start(beating(tmp_path / "beat"), Stage.APPLICATION, watched(tmp_path / "beat"))
        await asyncio.sleep(4)
        assert (process.status.restarts, process.status.hung) == (0, 0)

    run(group, scenario)


def test_a_process_has_its_time_to_get_ready_before_it_counts_as_hung(group: ProcessGroup, tmp_path: Path) -> None:
    async def scenario(group: ProcessGroup) -> None:
        slow = beating(tmp_path / "beat", first_after_s=3)
        process = await group.start(slow, Stage.APPLICATION, watched(tmp_path / "beat"))
        await asyncio.sleep(4)
        assert process.status.hung == 0
        never = replace(shell("never", "exec sleep 1000"), ready_timeout_s=0.1)
        other = await group.start(never, Stage.APPLICATION, watched(tmp_path / "none"))
        first = other.status.pid
        assert first is not None
        await another_pid(other, than=first)
        assert other.status.hung == 1

    run(group, scenario)


def test_a_hung_process_does_not_hold_up_a_stop(group: ProcessGroup, tmp_path: Path) -> None:
    pids: list[int] = []

    async def scenario(group: ProcessGroup) -> None:
        spec = replace(beating(tmp_path / "beat"), stop_grace_s=0.3)
        process = await group.start(spec, Stage.APPLICATION, watched(tmp_path / "beat"))
        assert process.status.pid is not None
        pids.append(process.status.pid)
        os.kill(process.status.pid, signal.SIGSTOP)

    run(group, scenario)
    wait_until_gone(pids)


def test_a_program_that_does_not_exist_is_a_start_error(group: ProcessGroup) -> None:
    async def scenario(group: ProcessGroup) -> None:
        missing = replace(sleeper(), argv=("/no/such/program",))
        with pytest.raises(StartError, match="cannot be started"):
            await group.start(missing, Stage.APPLICATION)

    run(group, scenario)


def test_a_command_that_fails_is_reported_with_its_output(group: ProcessGroup) -> None:
    async def scenario(group: ProcessGroup) -> None:
        with pytest.raises(StartError, match=r"migrate failed \(exit 2\)[\s\S]*no such table"):
            await group.run_to_end(shell("migrate", "echo no such table; exit 2"))

    run(group, scenario)


SUPERVISOR = """
import asyncio, pathlib, sys
from marketplace.supervisor.datafolder import DataFolder
from marketplace.supervisor.group import ProcessGroup, Stage
from marketplace.supervisor.identity import start_mark
from marketplace.supervisor.process import ProcessSpec

async def main():
    folder = DataFolder(pathlib.Path(sys.argv[1]))
    folder.prepare()
    folder.claim()
    group = ProcessGroup(folder)
    for name in ("one", "two"):
        spec = ProcessSpec(name=name, argv=("sleep", "1000"), env={}, cwd=pathlib.Path("/"))
        await group.start(spec, Stage.APPLICATION)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_no_process_survives_a_killed_supervisor_and_the_folder_is_free_again(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    report = folder.run / "processes.json"

    def pids() -> list[int]:
        return [entry["pid"] for entry in (read_json(report) or {}).get("processes", [])]

    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], cwd=ROOT) as supervisor:
        wait_until(lambda: len(pids()) == 2, "both processes")
        left = pids()
        supervisor.kill()
        supervisor.wait()
    wait_until_gone(left)
    folder.claim()
    folder.release()


def test_the_next_start_ends_what_a_killed_supervisor_could_not_take_along(group: ProcessGroup) -> None:
    with subprocess.Popen(["sleep", "1000"]) as orphan, subprocess.Popen(["sleep", "1000"]) as stranger:

        async def scenario(group: ProcessGroup) -> None:
            await group.start(sleeper(), Stage.APPLICATION)
            report = group.folder.run / "processes.json"
            text = report.read_text(encoding="utf-8")
            [ours] = read_json(report)["processes"]
            orphaned = text.replace(str(ours["pid"]), str(orphan.pid)).replace(
                str(ours["start_mark"]), str(start_mark(orphan.pid))
            )
            report.write_text(orphaned, encoding="utf-8")
            group.reap()

        run(group, scenario)
        assert orphan.wait() == -signal.SIGINT
        assert is_running(stranger.pid)
        stranger.kill()


def test_a_pid_that_went_to_another_process_is_not_touched(group: ProcessGroup) -> None:
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        entry = {"name": "old", "pid": stranger.pid, "start_mark": "another start"}
        report = group.folder.run / "processes.json"
        report.write_text(json.dumps({"processes": [entry]}), encoding="utf-8")
        group.reap()
        assert is_running(stranger.pid)
        stranger.kill()
