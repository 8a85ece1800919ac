"""Gateways that are replaced one after the other under load: no call fails, and every answer has its row."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.integration.gateway.conftest import Alone, body_of
from tests.support.gateways import GatewayProcess

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


@pytest.fixture(autouse=True)
def _drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEST_DRAIN", "1")


def test_no_call_fails_while_gateways_are_replaced(alone: Alone) -> None:
    answered = asyncio.run(replace_under_load(alone.process, alone.headers))
    alone.process.close()
    recorded = alone.recorded()
    assert len(answered) >= (ROUNDS + 1) * 50
    assert [call_id for call_id in answered if recorded[call_id] != 1] == []
