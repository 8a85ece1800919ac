"""Whatever dies, every answer has its row, every request that reached a server has one, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from core import failpoints
from gateway.config import Record
from tests.faultlab.proxy import Fault, FaultProxy, Mode
from tests.integration.gateway.conftest import body_of
from tests.support.gateways import (
    HTTP,
    World,
    config_for,
    drop_schemas,
    listening_socket,
    make_call_tables,
    rows_of,
    running_gateway,
)
from tests.support.processes import wait_until
from tests.support.upstreams import Upstream, misbehaving_upstream

ROOT = Path(__file__).resolve().parents[3]
CLIENTS = 8
# A process that does not reach its failpoint in this time never will.
DYING_S = 120
CALL = body_of("tools/call", {"name": "echo", "arguments": {}})
# A gateway killed here leaves at least the call that reached this point without an answer.
UNDER_WAY = frozenset({"after_intent", "before_upstream", "after_upstream", "before_commit"})


class Ground:
    """An organisation that may call one server, and what is counted on both sides of the gateway."""

    def __init__(self, urls: tuple[str, str], upstream: Upstream, folder: Path) -> None:
        self.urls, self.upstream, self.folder = urls, upstream, folder
        self.world = World()
        self.acme, provider = self.world.tenant("acme"), self.world.tenant("initech")
        token, key = self.world.key(self.acme)
        make_call_tables(urls[0], self.world.schemas)
        self.server = self.world.server("ok", upstream.url("ok"), provider)
        self.world.grant(self.acme, self.server, key)
        self.headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "echo",
        }

    def rows(self) -> dict[str, dict[str, Any]]:
        return {str(row["call_id"]): row for row in rows_of(self.urls[0], self.acme.schema_name)}

    def unknown(self) -> list[dict[str, Any]]:
        """Rows of calls whose answer nobody knows."""
        return [row for row in self.rows().values() if row["outcome"] == "unknown"]

    def asked(self) -> Counter[str]:
        """Calls as the server saw them."""
        return Counter(request.header("x-marketplace-call-id") or "" for request in self.upstream.requests)

    def post(self, base: str) -> httpx.Response:
        return httpx.post(f"{base}/mcp/ok", content=CALL, headers=self.headers, timeout=15)

    def problems(self, answered: list[str]) -> list[str]:
        """What is wrong between answers, requests at the server, and rows; the promises P1 and P2."""
        rows, asked = self.rows(), self.asked()
        return [
            *(f"answered, no row: {each}" for each in answered if each not in rows),
            *(
                f"answered, row is {rows[each]['outcome']}"
                for each in answered
                if each in rows and not rows[each]["billable"]
            ),
            *(f"asked, no row: {each}" for each in asked if each not in rows),
            *(f"asked {number} times: {each}" for each, number in asked.items() if number > 1),
            *(f"paid and {row['outcome']}" for row in rows.values() if row["billable"] and row["outcome"] != "ok"),
            *(f"paid, never asked: {each}" for each, row in rows.items() if row["billable"] and each not in asked),
        ]


@pytest.fixture
def ground(urls: tuple[str, str], tmp_path: Path) -> Iterator[Ground]:
    with misbehaving_upstream() as upstream:
        made = Ground(urls, upstream, tmp_path / "record")
        yield made
        drop_schemas(urls[0], made.world.schemas)


class Process:
    """A gateway in a process of its own, on a socket that outlives it."""

    def __init__(self, ground: Ground, tmp_path: Path) -> None:
        self.sock = listening_socket()
        self.base = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        entries = tmp_path / "entries.json"
        entries.write_text(ground.world.loader.dump())
        self._environment = {
            **os.environ,
            "GATEWAY_TEST_ENTRIES": str(entries),
            "GATEWAY_TEST_PORTS": str(ground.upstream.port),
            "GATEWAY_TEST_RECORD": str(ground.folder),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, failpoint: str = "") -> None:
        command = [sys.executable, "-m", "uvicorn", "--factory", "tests.support.gateways:process_app"]
        options = ["--fd", str(self.sock.fileno()), "--http", HTTP, "--log-level", "error", "--no-access-log"]
        self.process = subprocess.Popen(
            [*command, *options],
            cwd=ROOT,
            env={**self._environment, "FAILPOINT": failpoint},
            pass_fds=[self.sock.fileno()],
        )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def close(self) -> None:
        if self.process is not None and self.is_running:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
        self.sock.close()


async def call_on(base: str, headers: dict[str, str], answered: list[str], stop: asyncio.Event) -> None:
    async with httpx.AsyncClient(timeout=15, trust_env=False) as client:
        while not stop.is_set():
            try:
                response = await client.post(f"{base}/mcp/ok", content=CALL, headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(0.01)
                continue
            assert response.status_code == 200, response.text
            answered.append(response.headers["x-marketplace-call-id"])


@contextlib.asynccontextmanager
async def load(base: str, headers: dict[str, str]) -> Any:
    """Eight clients without pause; the ids of the calls that were answered."""
    answered: list[str] = []
    stop = asyncio.Event()
    clients = [asyncio.create_task(call_on(base, headers, answered, stop)) for _ in range(CLIENTS)]
    yield answered
    stop.set()
    done, pending = await asyncio.wait(clients, timeout=15)
    for client in pending:
        client.cancel()
    for client in done:
        client.result()


async def die_under_load(process: Process, ground: Ground, failpoint: str) -> list[str]:
    async with load(process.base, ground.headers) as answered, asyncio.timeout(DYING_S):
        process.start(f"{failpoint}:60")
        while process.is_running:
            await asyncio.sleep(0.02)
        process.start()
        enough = len(answered) + 30
        while len(answered) < enough:
            await asyncio.sleep(0.02)
    return answered


@pytest.mark.parametrize("failpoint", failpoints.CALL_POINTS)
def test_a_gateway_that_is_killed_at_any_step_loses_no_call(ground: Ground, tmp_path: Path, failpoint: str) -> None:
    process = Process(ground, tmp_path)
    try:
        answered = asyncio.run(die_under_load(process, ground, failpoint))
        wait_until(lambda: set(ground.asked()) <= set(ground.rows()), "the calls of the killed process to be recorded")
        # A call that died before it asked the upstream is in no list but the intents.
        if failpoint in UNDER_WAY:
            wait_until(ground.unknown, "the calls that were under way to be recorded")
    finally:
        process.close()
    assert len(answered) >= 40
    assert ground.problems(answered) == []
    left = ground.unknown()
    assert len(left) <= CLIENTS
    assert {row["tool"] for row in left} <= {"echo"}


class Away:
    """Postgres behind a proxy that can lose it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.proxy = FaultProxy(parts.port or 5432)
        self._parts = parts

    @property
    def url(self) -> str:
        parts = self._parts
        host = parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{self.proxy.port}"
        return urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.HANG])
def test_while_postgres_is_away_calls_are_answered_and_all_of_them_are_recorded(ground: Ground, mode: Mode) -> None:
    async def act() -> tuple[list[str], int]:
        away = Away(ground.urls[0])
        await away.proxy.start()
        record = Record(folder=ground.folder, spool_after_s=0.25)
        config = config_for(away.url, ground.urls[1], ground.upstream.port, record=record)
        with running_gateway(config, ground.world.loader) as base:
            async with load(base, ground.headers) as answered:
                await _until(lambda: len(answered) > 50)
                away.proxy.set(Fault(mode))
                before = len(answered)
                began = time.monotonic()
                await _until(lambda: len(answered) > before + 200 and time.monotonic() - began > 3)
                answered_meanwhile = len(answered) - before
                away.proxy.heal()
                after = len(answered)
                await _until(lambda: len(answered) > after + 50)
            await asyncio.to_thread(
                wait_until, lambda: set(answered) <= set(ground.rows()), "spooled calls to be recorded", deadline_s=20
            )
        await away.proxy.stop()
        return answered, answered_meanwhile

    answered, meanwhile = asyncio.run(act())
    assert meanwhile > 200
    assert ground.problems(answered) == []
    assert list(ground.folder.iterdir()) == []


def test_calls_that_a_dead_process_spooled_are_recorded_by_another(ground: Ground, tmp_path: Path) -> None:
    gone = Process(ground, tmp_path)
    gone._environment["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:9/none"
    try:
        gone.start()
        wait_until(lambda: _answers(ground, gone.base), "the gateway to answer from its spool")
        answered = [ground.post(gone.base).headers["x-marketplace-call-id"] for _ in range(5)]
        assert not set(answered) & set(ground.rows())
    finally:
        gone.close()
    record = Record(folder=ground.folder)
    with running_gateway(config_for(*ground.urls, ground.upstream.port, record=record), ground.world.loader):
        wait_until(lambda: set(answered) <= set(ground.rows()), "the other process to take over")
    assert ground.problems(answered) == []


def test_a_spool_that_reached_its_limit_closes_what_costs_or_acts_and_then_everything(ground: Ground) -> None:
    record = Record(folder=ground.folder, spool_bytes=20_000)
    database = "postgresql://nobody@127.0.0.1:9/none"
    with running_gateway(
        config_for(database, ground.urls[1], ground.upstream.port, record=record), ground.world.loader
    ) as base:
        wait_until(lambda: ground.post(base).status_code == 503, "the spool to be full", deadline_s=20)
        asked = len(ground.upstream.requests)
        refused = ground.post(base)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["data"]["code"] in {"calls.record_unavailable", "calls.not_recorded"}
        assert len(ground.upstream.requests) == asked


def _answers(ground: Ground, base: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return ground.post(base).status_code == 200
    return False


async def _until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)
