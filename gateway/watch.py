"""Deadlines and disconnects of the calls in flight, kept by one timer instead of one per call.

A call enters with a deadline and, where a lost client means cancellation, with its `receive`. Every tick the watch cancels
what is overdue and starts to listen for the disconnect of calls that are not answered quickly; a quick call pays for two set
operations. The cancelled call asks `item.reason` why: it was the watch, or, when empty, somebody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

TICK_S = 0.05

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class WatchedTimeoutError(Exception):
    """The deadline passed."""


class ClientGoneError(Exception):
    """The client closed its connection."""


class Watched:
    """One call in flight, as a context manager that turns the watch's cancellation into an exception."""

    __slots__ = ("_listener", "_watch", "deadline", "entered_at", "reason", "receive", "task")

    def __init__(self, watch: Watch, deadline: float, receive: Receive | None) -> None:
        self._watch = watch
        self.deadline, self.receive = deadline, receive
        self.reason = ""
        self.entered_at = watch.loop.time()
        self._listener: asyncio.Task[None] | None = None
        task = asyncio.current_task()
        assert task is not None
        self.task: asyncio.Task[Any] = task

    def __enter__(self) -> Watched:
        self._watch.items.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.items.discard(self)
        if self._listener is not None:
            self._listener.cancel()
        if kind is asyncio.CancelledError and self.reason:
            self.task.uncancel()
            raise (WatchedTimeoutError if self.reason == "timeout" else ClientGoneError) from error

    def extend(self, seconds: float, at_most: float) -> None:
        """Move the deadline to so many seconds from now, but not past a moment."""
        self.deadline = min(self._watch.loop.time() + seconds, at_most)

    def cancel(self, reason: str) -> None:
        if not self.reason:
            self.reason = reason
            self.task.cancel()

    def listen(self) -> None:
        if self.receive is not None and self._listener is None:
            self._listener = asyncio.create_task(self._await_disconnect(self.receive))

    async def _await_disconnect(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.cancel("disconnect")
                return


class Watch:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.items: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self.loop.call_later(TICK_S, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def over(self, seconds: float, receive: Receive | None = None) -> Watched:
        """Watch the current task for so many seconds. With `receive`, a disconnect of the client cancels it too."""
        return Watched(self, self.loop.time() + seconds, receive)

    def _tick(self) -> None:
        now = self.loop.time()
        for item in self.items:
            if now >= item.deadline:
                item.cancel("timeout")
            elif now - item.entered_at >= TICK_S:
                item.listen()
        self._timer = self.loop.call_later(TICK_S, self._tick)
