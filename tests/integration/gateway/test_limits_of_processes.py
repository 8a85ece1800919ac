"""Limits hold over two gateway processes without stickiness, and go on to hold when one of them is killed in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from access.limits import LimitKind, LimitRule, LimitScope, Period, to_units
from bench import nginx
from bench.harness import BenchError, need_programs, work_folder
from marketplace.supervisor.ports import free_port
from tests.integration.gateway.conftest import body_of
from tests.support.gateways import GatewayProcess, World, drop_schemas, make_call_tables, rows_of
from tests.support.processes import wait_until
from tests.support.upstreams import misbehaving_upstream

CALL = body_of("tools/call", {"name": "echo", "arguments": {}})
PRICE = Decimal("0.02")
AT_ONCE = 8


@dataclass
class Pair:
    processes: list[GatewayProcess]
    headers: dict[str, str]
    urls: tuple[str, str]
    schema: str

    def start(self) -> None:
        """Their sockets are open already: the first call waits until its process is there."""
        for process in self.processes:
            process.start()

    def billed(self) -> list[dict[str, Any]]:
        return [row for row in rows_of(self.urls[0], self.schema) if row["billable"]]

    def call(self, process: GatewayProcess) -> int:
        return self.call_at(process.base)

    def call_at(self, base: str) -> int:
        return httpx.post(f"{base}/mcp/ok", content=CALL, headers=self.headers, timeout=60).status_code

    async def call_both_and_kill_one(self, after: int, more: int) -> tuple[list[int], list[int]]:
        """Statuses before and after the death of the first process, which comes when so many calls have passed."""
        first, second = self.processes
        before: list[int] = []
        later: list[int] = []
        async with httpx.AsyncClient(timeout=60, headers=self.headers, trust_env=False) as client:

            async def one(process: GatewayProcess, found: list[int]) -> None:
                try:
                    found.append((await client.post(f"{process.base}/mcp/ok", content=CALL)).status_code)
                except httpx.TransportError:
                    found.append(0)

            while before.count(200) < after:
                await asyncio.gather(*(one(self.processes[number % 2], before) for number in range(2)))
            under_way = [asyncio.create_task(one(self.processes[n % 2], before)) for n in range(AT_ONCE)]
            await asyncio.sleep(0)
            first.kill()
            first.sock.close()
            for _ in range(0, more, AT_ONCE):
                await asyncio.gather(*(one(second, later) for _ in range(AT_ONCE)))
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        return before, later


@pytest.fixture
def pair(urls: tuple[str, str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two processes, and an organisation whose key has the limit that the test asks for."""
    rule: LimitRule = request.param
    world = World()
    with misbehaving_upstream() as upstream:
        acme, initech = world.tenant("acme"), world.tenant("initech")
        token, key = world.key(acme)
        world.change(acme.tenant_id, limits=(replace(rule, key_id=key.api_key_id),))
        make_call_tables(urls[0], world.schemas)
        world.grant(acme, world.server("ok", upstream.url("ok"), initech), key)
        entries = tmp_path / "entries.json"
        entries.write_text(world.loader.dump())
        headers = {
            "authorization": f"Bearer {token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "echo",
        }
        processes = [GatewayProcess(entries, upstream.port) for _ in range(2)]
        try:
            yield Pair(processes, headers, urls, acme.schema_name)
        finally:
            for process in processes:
                process.close()
            drop_schemas(urls[0], world.schemas)


def limit(kind: LimitKind, amount: int, period: Period) -> LimitRule:
    return LimitRule(str(kind), "The limit", LimitScope.KEY, kind, amount, period)


@pytest.mark.parametrize(
    ("pair", "most"),
    [
        pytest.param(limit(LimitKind.RATE, 60, Period.DAY), 60, id="rate"),
        pytest.param(limit(LimitKind.QUOTA, 50, Period.MONTH), 50, id="quota"),
        pytest.param(limit(LimitKind.CAP, to_units(PRICE * 50), Period.MONTH), 50, id="cap"),
    ],
    indirect=["pair"],
)
def test_a_limit_holds_in_sum_and_the_survivor_uses_what_is_left(pair: Pair, most: int) -> None:
    pair.start()
    before, later = asyncio.run(pair.call_both_and_kill_one(after=16, more=2 * most))
    passed = before.count(200) + later.count(200)
    assert 16 <= passed <= most
    assert later.count(200) > 0
    assert set(later) <= {200, 402, 429}
    # The bound counts what was done, also where the answer died with the process.
    billed = pair.billed()
    assert passed <= len(billed) <= most
    assert sum(row["price"] for row in billed) <= PRICE * most
    # What the dead process held is not handed out a second time; the survivor comes to an end.
    survivor = pair.processes[1]
    wait_until(lambda: pair.call(survivor) in {402, 429}, "the limit to be used up")
    assert len(pair.billed()) <= most


@pytest.fixture
def balanced(pair: Pair) -> Iterator[str]:
    """The address of nginx, which hands each request to the next process, whoever asks."""
    try:
        need_programs("nginx")
    except BenchError as reason:
        pytest.skip(f"nginx is not to be had here: {reason}")
    port, ports = free_port(), [process.sock.getsockname()[1] for process in pair.processes]
    with work_folder() as folder, nginx.balancing(port, ports, folder):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("pair", [pytest.param(limit(LimitKind.RATE, 60, Period.DAY), id="rate")], indirect=True)
def test_behind_a_proxy_without_stickiness_all_of_a_rate_can_be_used_and_no_more(pair: Pair, balanced: str) -> None:
    pair.start()
    wait_until(lambda: pair.call_at(balanced) == 200, "both processes behind nginx")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = [200, *pool.map(pair.call_at, [balanced] * 100)]
    assert set(found) <= {200, 429}

    def is_used_up() -> bool:
        # What a process holds that nobody asks it for goes back, and is then used.
        found.append(pair.call_at(balanced))
        return found.count(200) >= 60

    wait_until(is_used_up, "the rate to be used up")
    assert [pair.call_at(balanced) for _ in range(20)] == [429] * 20
    assert found.count(200) == len(pair.billed()) == 60
