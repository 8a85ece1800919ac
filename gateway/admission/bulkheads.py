"""Closed: when every slot is taken and the queue is full or too slow, the call is refused and the server is left alone.

A bulkhead keeps one server, or one organisation, from taking everything that a process has.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """So many at once; the rest waits in line for a bounded time. Whoever gives a slot back hands it to the first in line."""

    __slots__ = ("_line", "limit", "queue", "taken")

    def __init__(self, limit: int, queue: int = 0) -> None:
        self.limit, self.queue = limit, queue
        self.taken = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def take(self) -> bool:
        """A slot at once, or none."""
        if self.taken >= self.limit:
            return False
        self.taken += 1
        return True

    async def wait(self, seconds: float) -> bool:
        """A slot within so many seconds, or none. A caller that is cancelled leaves no trace."""
        if self.take():
            return True
        if len(self._line) >= self.queue:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():
                # The slot was handed over at the very moment in which its taker gave up.
                self.give()
            else:
                self._line.remove(turn)
            if isinstance(exc, TimeoutError):
                return False
            raise
        return True

    def give(self) -> None:
        """Give a slot back."""
        if not self._line:
            self.taken -= 1
            return
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.taken -= 1
