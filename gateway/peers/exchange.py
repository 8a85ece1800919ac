"""One request within a session, from its sending to its answer: what the server says about it, in order.

It outlives the request of the caller when the server asks for more and waits.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.context import CallContext
from gateway.peers import Json

# As many messages as may wait for a slow caller; then the server is not read on.
_QUEUE = 256


class Exchange:
    __slots__ = (
        "_closed",
        "_queue",
        "answered",
        "call",
        "method",
        "number",
        "params",
        "pending",
        "rounds",
        "runner",
    )

    def __init__(self, call: CallContext, number: int, method: str, params: Json) -> None:
        self.call, self.number, self.method, self.params = call, number, method, params
        self.pending: dict[str, Json] = {}  # requests of the server that are not answered yet, by their key
        self.rounds = 0
        self.answered = False
        self.runner: asyncio.Task[None] | None = None
        self._queue: asyncio.Queue[Json | Exception] = asyncio.Queue(_QUEUE)
        self._closed = False

    async def put(self, item: Json | Exception) -> None:
        """Hand over what has come; waits while the caller is behind."""
        if not self._closed:
            await self._queue.put(item)

    async def get(self) -> Json:
        """What has come next. Raises what ended the exchange."""
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def get_soon(self, seconds: float) -> Json | None:
        """What comes within so many seconds, else None."""
        try:
            async with asyncio.timeout(seconds):
                return await self.get()
        except TimeoutError:
            return None

    def close(self) -> None:
        """Nobody reads any more: whoever waits to hand over goes on."""
        self._closed = True
        if self.runner is not None and not self.answered:
            self.runner.cancel()
        while not self._queue.empty():
            self._queue.get_nowait()

    def is_own_id(self, number: Any) -> bool:
        return number == self.number and type(number) is int
