"""The whole product, started as a user starts it, in a folder and on a port of its own."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from marketplace.supervisor.datafolder import read_env_file
from marketplace.supervisor.ports import free_port
from tests.support.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]
_READY_S = 180.0
_INHERITED = ("DATABASE_URL", "REDIS_URL", "DJANGO_", "MARKETPLACE_", "PYTEST_", "PYTHONPATH")


@dataclass
class RunningStack:
    """One running instance. Pids change when a process is started again; ask for them when needed."""

    url: str
    port: int
    data: Path
    supervisor: subprocess.Popen[bytes]
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def demo(self) -> dict[str, str]:
        """MARKETPLACE_URL, MARKETPLACE_API_KEY and the rest of demo.env."""
        return read_env_file(self.data / "demo.env")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes, to run management commands against it."""
        return {**clean_environment(), **self.given, **read_env_file(self.data / "run" / "instance.env")}

    def pids(self) -> dict[str, int]:
        """The processes that run at this moment, by name."""
        report = json.loads((self.data / "run" / "processes.json").read_text(encoding="utf-8"))
        return {entry["name"]: entry["pid"] for entry in report["processes"] if entry["pid"]}

    def log(self, name: str) -> str:
        return (self.data / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.supervisor.send_signal(number)
        return self.supervisor.wait(timeout=60)


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would replace or colour the product's own parts."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_INHERITED)}


@contextmanager
def data_folder() -> Iterator[Path]:
    """A folder that the unprivileged servers can reach; pytest's own folders are private to root."""
    folder = Path(tempfile.mkdtemp(prefix="marketplace-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_stack(
    data: Path, *arguments: str, port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """`scripts/up` on a data folder until the block ends. A start that fails shows what it printed."""
    port = port or free_port()
    said = data / f"up-{port}.log"
    command = [str(ROOT / "scripts" / "up"), "--port", str(port), "--data", str(data), *arguments]
    with said.open("wb") as output:
        supervisor = subprocess.Popen(
            command, stdout=output, stderr=output, env={**clean_environment(), **(environment or {})}
        )
    try:
        wait_until(lambda: _ready(said) or supervisor.poll() is not None, "READY", deadline_s=_READY_S)
        text = said.read_text(encoding="utf-8")
        assert _ready(said), f"the start ended:\n{text}"
        yield RunningStack(text.rstrip().rpartition("READY ")[2], port, data, supervisor, environment or {})
    finally:
        if supervisor.poll() is None:
            supervisor.terminate()
            supervisor.wait(timeout=60)


def _ready(said: Path) -> bool:
    lines = said.read_text(encoding="utf-8").rstrip().splitlines()
    return bool(lines) and lines[-1].startswith("READY ")
