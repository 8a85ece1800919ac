"""Gateways that are replaced one after the other under load: no call fails, and every answer has its row."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.conftest import body_of
from tests.support.gateways import GatewayProcess, World, drop_schemas, make_call_tables, rows_of
from tests.support.upstreams import misbehaving_upstream

ROUNDS, CLIENTS = 3, 8
CALL = body_of("tools/call", {"name": "echo", "arguments": {}})


async def call_until(stop: asyncio.Event, base: str, headers: dict[str, str], answered: list[str]) -> None:
    """Calls over connections that are kept; any failure of any call ends the test."""
    async with httpx.AsyncClient(timeout=30, headers=headers) as client:
        while not stop.is_set():
            response = await client.post(f"{base}/mcp/ok", content=CALL)
            assert response.status_code == 200, response.text
            answered.append(response.headers["x-marketplace-call-id"])
            await asyncio.sleep(0.01)


async def replace_under_load(process: GatewayProcess, headers: dict[str, str]) -> list[str]:
    stop = asyncio.Event()
    answered: list[str] = []
    process.start()
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(call_until(stop, process.base, headers, answered))
        for _ in range(ROUNDS):
            enough = len(answered) + 50
            while len(answered) < enough:
                await asyncio.sleep(0.02)
            # The socket stays open: whoever comes between two processes waits in its queue.
            await asyncio.to_thread(process.stop)
            process.start()
        enough = len(answered) + 50
        while len(answered) < enough:
            await asyncio.sleep(0.02)
        stop.set()
    return answered


def test_no_call_fails_while_gateways_are_replaced(
    urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_TEST_DRAIN", "1")
    world = World()
    with misbehaving_upstream() as upstream:
        acme, initech = world.tenant("acme"), world.tenant("initech")
        token, key = world.key(acme)
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
        process = GatewayProcess(entries, upstream.port)
        try:
            answered = asyncio.run(replace_under_load(process, headers))
        finally:
            process.close()
        recorded = Counter(str(row["call_id"]) for row in rows_of(urls[0], acme.schema_name))
        drop_schemas(urls[0], world.schemas)
    assert len(answered) >= (ROUNDS + 1) * 50
    assert [call_id for call_id in answered if recorded[call_id] != 1] == []
