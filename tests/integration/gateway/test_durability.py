"""Answered implies recorded: a gateway process is killed twenty times under load, and every answer has exactly one row."""

from __future__ import annotations

import asyncio

import httpx

from tests.integration.gateway.conftest import Alone, body_of
from tests.support.gateways import GatewayProcess

KILLS = 20
CLIENTS = 8
CALL = body_of("tools/call", {"name": "echo", "arguments": {}})


async def call_until(stop: asyncio.Event, base: str, headers: dict[str, str], answered: list[str]) -> None:
    """Call without pause; note the id of every call whose answer arrived in full."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        while not stop.is_set():
            try:
                response = await client.post(f"{base}/mcp/ok", content=CALL, headers=headers)
            except httpx.TransportError:
                # Killed in the middle of it. The socket stays open, so the next call waits for the next process.
                await asyncio.sleep(0.01)
                continue
            assert response.status_code == 200, response.text
            assert response.json()["result"]
            answered.append(response.headers["x-marketplace-call-id"])


async def load_with_kills(process: GatewayProcess, headers: dict[str, str]) -> list[str]:
    stop, answered = asyncio.Event(), []
    clients = [asyncio.create_task(call_until(stop, process.base, headers, answered)) for _ in range(CLIENTS)]
    for number in range(KILLS):
        process.start()
        enough = len(answered) + 40 + 13 * (number % 4)
        while len(answered) < enough:
            await asyncio.sleep(0.005)
            for client in clients:
                if client.done():
                    client.result()
        process.kill()
    stop.set()
    # Whoever waits for a process that does not come any more is let go.
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return answered


def test_every_answered_call_has_exactly_one_row_however_often_the_gateway_is_killed(alone: Alone) -> None:
    answered = asyncio.run(load_with_kills(alone.process, alone.headers))
    alone.process.close()
    recorded, performed = alone.recorded(), len(alone.upstream.requests)
    assert len(answered) >= KILLS * 40
    assert len(set(answered)) == len(answered)
    assert [call_id for call_id in answered if recorded[call_id] != 1] == []
    assert max(recorded.values()) == 1
    # A row without an answer is a call that was interrupted between its commit and its last byte; there are few, and each
    # was performed once.
    assert len(answered) <= len(recorded) <= performed
