"""Ending what speaks to Valkey, whatever it does meanwhile."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as redis

from gateway import valkey


class Failing(redis.Redis):
    """A client whose goodbye fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._failure = error

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        raise self._failure


@pytest.mark.parametrize(
    "error", [redis.TimeoutError(), redis.ConnectionError(), ConnectionResetError(), TimeoutError()]
)
def test_a_goodbye_that_fails_stops_nobody(error: Exception) -> None:
    asyncio.run(valkey.close(Failing(error)))


def test_a_task_that_swallows_its_cancellation_is_ended_all_the_same() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def failed() -> None:
        raise ConnectionResetError

    async def run() -> list[bool]:
        tasks = [asyncio.create_task(stubborn()), asyncio.create_task(failed())]
        await asyncio.sleep(0)
        await valkey.end(tasks)
        return [task.cancelled() for task in tasks]

    assert asyncio.run(run()) == [True, False]
