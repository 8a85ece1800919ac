"""Everything that is put under fault: two gateway processes, PostgreSQL and Valkey behind fault proxies, a counting server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psutil
import psycopg

from bench.harness import ROOT
from marketplace.supervisor.infrastructure import Infrastructure, embedded
from marketplace.supervisor.ports import bound, port_of
from marketplace.supervisor.process import die_with_parent
from tests.faultlab.load import Caller, Load, Sent
from tests.faultlab.proxy import FaultProxy
from tests.faultlab.upstream import CountingServer

GATEWAYS = 2
TENANTS = 20
RATE = 200.0
RECOVERED_AFTER = 40  # calls in a row that succeed
_SERVER = (
    "--loop",
    "uvloop",
    "--http",
    "gateway.http:Protocol",
    "--no-server-header",
    "--no-access-log",
    "--no-proxy-headers",
)


class GatewayProcess:
    """One gateway on a socket that outlives it, started again whenever it ends, as the supervisor does."""

    def __init__(self, number: int, environment: dict[str, str], folder: Path) -> None:
        self._number, self._environment, self._folder = number, environment, folder
        self.extra: dict[str, str] = {}
        self.prefix: tuple[str, ...] = ()
        self.restarts = 0
        self.respawn = True
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, socket_fd: int) -> None:
        self._fd = socket_fd
        self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    def _spawn(self) -> None:
        command = (
            *self.prefix,
            sys.executable,
            "-m",
            "uvicorn",
            "marketplace.asgi:application",
            "--fd",
            str(self._fd),
            *_SERVER,
        )
        with (self._folder / f"gateway-{self._number}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self._environment, **self.extra},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._fd,),
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - touches nothing that a thread may hold
            )

    async def _keep(self) -> None:
        while True:
            assert self.process is not None
            if self.process.poll() is not None and self.respawn:
                self.restarts += 1
                self._spawn()
            await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def restart(self, **extra: str) -> None:
        """End it and bring it back with another environment."""
        self.extra = extra
        before = self.restarts
        self.send(signal.SIGTERM)
        while self.restarts == before:
            await asyncio.sleep(0.05)

    def measure(self) -> tuple[int, int, int]:
        """Process id, open descriptors, resident bytes."""
        assert self.process is not None
        process = psutil.Process(self.process.pid)
        return process.pid, process.num_fds(), process.memory_info().rss

    async def stop(self) -> None:
        self.respawn = False
        self._keeper.cancel()
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)


@dataclass
class Lab:
    folder: Path
    infrastructure: Infrastructure
    database: FaultProxy
    broker: FaultProxy
    wire: FaultProxy  # between the gateways and the server `shaky`
    upstream: CountingServer
    environment: dict[str, str]
    gateways: list[GatewayProcess] = field(default_factory=list)
    bases: list[str] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    retired: list[Caller] = field(default_factory=list)  # whose key or organisation a fault has ended
    sent: list[Sent] = field(default_factory=list)
    rate: float = RATE
    recovered_s: float | None = None
    _base: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def direct_database_url(self) -> str:
        return self.infrastructure.database_url

    @property
    def schemas(self) -> list[str]:
        return [caller.schema for caller in (*self.callers, *self.retired)]

    @property
    def manage_environment(self) -> dict[str, str]:
        """For commands of the control plane, past the faults."""
        return {**self.environment, **self.infrastructure.environment()}

    def load(self, share: float = 1.0, **options: object) -> Load:
        """Calls at the laboratory's rate, or a share of it."""
        return Load(self.bases, list(self.callers), rate=self.rate * share, **options)  # type: ignore[arg-type]

    def retire(self, caller: Caller) -> None:
        """No further calls of this one; its rows still count."""
        self.callers.remove(caller)
        self.retired.append(caller)

    def begin(self) -> None:
        """Forget what earlier faults left in the notes."""
        self.sent, self.recovered_s = [], None
        for counter in (self.upstream.executed, self.upstream.writes):
            counter.clear()
        self.upstream.call_ids.clear()

    def heal(self) -> None:
        self.upstream.heal()
        for proxy in (self.database, self.broker, self.wire):
            proxy.heal()

    async def warm(self) -> None:
        """Every gateway has answered for every organisation; then what it holds is what it holds at rest."""
        async with self.load(0.75) as load:
            await asyncio.sleep(4)
        bad = [sent for sent in load.sent if not sent.succeeded]
        if bad:
            raise RuntimeError(f"{len(bad)} of {len(load.sent)} calls fail without any fault, the first: {bad[0]}")
        await asyncio.sleep(6)
        for gateway in self.gateways:
            pid, fds, memory = gateway.measure()
            self._base[pid] = (fds, memory)

    async def recover(self, load: Load) -> None:
        """Note how long after the end of the fault calls succeed again."""
        began, seen = time.monotonic(), len(load.sent)
        while time.monotonic() - began < 45:
            done = [sent for sent in load.sent[seen:] if sent.seconds]
            tail = done[-RECOVERED_AFTER:]
            if len(tail) == RECOVERED_AFTER and all(sent.succeeded for sent in tail):
                self.recovered_s = tail[0].began - began
                return
            await asyncio.sleep(0.1)
        self.recovered_s = 45.0

    async def leak(self) -> str:
        """What a gateway that lived through the fault still holds, in words; empty when it is what it held before."""
        deadline = time.monotonic() + 30
        while (words := self._held()) and time.monotonic() < deadline:
            await asyncio.sleep(1)
        return words

    def _held(self) -> str:
        words = []
        for gateway in self.gateways:
            pid, fds, memory = gateway.measure()
            if pid not in self._base:
                continue
            base_fds, base_memory = self._base[pid]
            if fds > base_fds * 1.05 + 4:
                words.append(f"{fds - base_fds} descriptors")
            if memory > base_memory * 1.05 + 50e6:
                words.append(f"{(memory - base_memory) / 1e6:.0f} MB")
        return ", ".join(words)

    async def is_ready(self, base: str) -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            try:
                return (await client.get(f"{base}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

    async def wait_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        for base in self.bases:
            while not await self.is_ready(base):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{base} did not become ready; see the logs under {self.folder}")
                await asyncio.sleep(0.1)

    def manage(self, *command: str) -> str:
        done = subprocess.run(
            (sys.executable, *command),
            cwd=ROOT,
            env=self.manage_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def postmaster(self) -> int:
        with psycopg.connect(self.direct_database_url) as connection:
            return psutil.Process(connection.info.backend_pid).ppid()


def _through(url: str, port: int) -> str:
    """The same address by way of a proxy."""
    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}@{host.rpartition(':')[0]}:{port}"))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the unprivileged account of the servers can pass through."""
    with tempfile.TemporaryDirectory(prefix="marketplace-faultlab-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@contextlib.asynccontextmanager
async def running_lab(*, tenants: int = TENANTS, rate: float = RATE) -> AsyncIterator[Lab]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_folder())
        servers = embedded(folder / "servers", throwaway=False)
        infrastructure = await asyncio.to_thread(stack.enter_context, servers)
        lab = await _lab(folder, infrastructure)
        lab.rate = rate
        try:
            await asyncio.to_thread(_fill, lab, tenants)
            for number in range(GATEWAYS):
                listener = stack.enter_context(bound(0))
                gateway = GatewayProcess(number, lab.environment, folder)
                gateway.start(listener.fileno())
                lab.gateways.append(gateway)
                lab.bases.append(f"http://127.0.0.1:{port_of(listener)}")
            await lab.wait_ready()
            yield lab
        finally:
            for gateway in lab.gateways:
                await gateway.stop()
            for proxy in (lab.database, lab.broker, lab.wire):
                await proxy.stop()
            await lab.upstream.stop()


async def _lab(folder: Path, infrastructure: Infrastructure) -> Lab:
    upstream = CountingServer()
    await upstream.start()
    database = FaultProxy(urlsplit(infrastructure.database_url).port or 0)
    broker = FaultProxy(urlsplit(infrastructure.redis_url).port or 0)
    wire = FaultProxy(upstream.port)
    for proxy in (database, broker, wire):
        await proxy.start()
    environment = {
        **os.environ,
        "DATABASE_URL": _through(infrastructure.database_url, database.port),
        "REDIS_URL": _through(infrastructure.redis_url, broker.port),
        "MARKETPLACE_SECRET_KEY": secrets.token_hex(24),
        "MARKETPLACE_ENV": "test",
        "MARKETPLACE_ROLE": "gateway",
        "MARKETPLACE_DATA": str(folder),
        "MARKETPLACE_EGRESS_ALLOW": ",".join(
            f"127.0.0.1:{port}" for port in (upstream.port, upstream.tls_port, wire.port, 9)
        ),
        "MARKETPLACE_FIRST_BYTE_SECONDS": "5",
        "MARKETPLACE_TOTAL_SECONDS": "20",
        # Asked of every call and never reached: what is tested here is not the limits themselves.
        "MARKETPLACE_LIMIT_KEY_PER_MINUTE": "1000000",
        "MARKETPLACE_LIMIT_SPEND_PER_MONTH": "100000",
    }
    return Lab(folder, infrastructure, database, broker, wire, upstream, environment)


def _fill(lab: Lab, tenants: int) -> None:
    lab.manage("manage.py", "setup", "--skip-checks")
    servers = {
        "steady": f"http://127.0.0.1:{lab.upstream.port}/mcp",
        "shaky": f"http://127.0.0.1:{lab.wire.port}/mcp",
        "closed": "http://127.0.0.1:9/mcp",
        "nowhere": "https://server.invalid/mcp",
        "untrusted": f"https://127.0.0.1:{lab.upstream.tls_port}/mcp",
    }
    options = [f"--server={name}={url}" for name, url in servers.items()]
    made = lab.manage("-m", "tests.faultlab.world", "--tenants", str(tenants), *options)
    for each in json.loads(made.splitlines()[-1]):
        lab.callers.append(Caller(each["tenant"], each["schema"], each["token"]))
