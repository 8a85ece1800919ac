"""Where a number comes from: a result without its machine, versions and commit cannot be compared with another."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sysconfig
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import psycopg

from bench.harness import ROOT, Cores, program

_PACKAGES = ("uvicorn", "uvloop", "httptools", "orjson", "psycopg")
_DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


def describe(cores: Cores, database_url: str, folder: Path) -> dict[str, str]:
    """Everything that a reader needs to place the numbers, in the order of printing."""
    database, durability = _database(database_url)
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores; subject on core {cores.subject}, the rest on {cores.others}",
        "load before": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()} ({_build()})",
        "versions": ", ".join(
            [f"nginx {_said('nginx', '-v')}", f"wrk {_said('wrk', '-v')}", f"PostgreSQL {database}"]
            + [f"{name} {version(name)}" for name in _PACKAGES]
        ),
        "durability": f"{durability}, on {_filesystem(folder)}",
        "commit": _commit(),
    }


def _build() -> str:
    """Whether the interpreter was built with profile-guided optimisation: without it, it is a good fifth slower."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS"))
    return "optimised build" if "--enable-optimizations" in arguments else "plain build"


def _processor() -> str:
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*: (.+)$", info, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _said(name: str, option: str) -> str:
    done = subprocess.run((program(name), option), capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stderr + done.stdout)
    return found.group() if found else "unknown"


def _database(url: str) -> tuple[str, str]:
    with psycopg.connect(url) as connection:
        values = [f"{name}={connection.execute(f'SHOW {name}').fetchone()[0]}" for name in _DURABILITY]  # type: ignore[index]
        return str(connection.info.server_version // 10000), " ".join(values)


def _filesystem(folder: Path) -> str:
    """The kind of file system: on tmpfs a commit costs nothing and the result flatters."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, kind, *_ = line.split()
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "unknown"
    return commit + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def processor_s(pid: int) -> float:
    """Processor time of a process and its children, those that ended included."""
    ticks = sum(map(int, _stat(pid)[11:15]))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                stat = _stat(int(entry.name))
                ticks += sum(map(int, stat[11:13])) if int(stat[1]) == pid else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Fields of proc_pid_stat(5) from the state on: the name before it may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
