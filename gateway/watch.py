"""Deadlines and disconnects of the calls in flight, kept by one timer instead of one per call.

A request is watched from its first byte to its answer, in phases: each sets its own deadline and, where a lost client means
cancellation, hands over its `receive`. Every tick the watch cancels what is overdue and starts to listen for the disconnect of
calls that are not answered quickly, so that a quick call pays for little more than two set operations.

Streams towards clients are kept here too: after a silence a comment goes out, so that proxies on the way keep the connection
and a lost client is noticed, and a client that does not read what it is sent is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)

TICK_S = 0.05
REVIEW_S = 1.0
COMMENT = b": keep-alive\n\n"

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class WatchedTimeoutError(Exception):
    """The deadline passed."""


class ClientGoneError(Exception):
    """The client closed its connection, or stopped reading from it."""


class CancelledByClientError(ClientGoneError):
    """The client is there and wants no answer any more."""


class Watched:
    """One request, as a context manager that turns the watch's cancellation into an exception."""

    # What a request begins with.
    _deadline = math.inf
    _last = math.inf
    _began_at = math.inf
    _end = math.inf
    _said_at = math.inf
    _receive: Receive | None = None
    _listener: asyncio.Task[None] | None = None
    _promote: Callable[[], None] | None = None  # of a request that is no task as long as all goes quickly
    _send: Send | None = None
    _comment: asyncio.Task[None] | None = None
    _saying = False
    listens = False  # a stream without a natural end
    review: Callable[[], bool] | None = None  # whether it may go on; asked every `REVIEW_S`
    reason = ""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Watched:
        self._task = asyncio.current_task()
        self._watch.items.add(self)
        return self

    def begin(self, promote: Callable[[], None]) -> None:
        """Watch a request that is no task; `promote` makes it one, which happens when its server takes its time."""
        self._promote = promote
        self._watch.items.add(self)

    def end(self) -> None:
        """It is over, or goes on as a task."""
        self._promote = None
        self._watch.items.discard(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.items.discard(self)
        if self._listener is not None:
            self._listener.cancel()
        if self._comment is not None:
            self._comment.cancel()
        if kind is asyncio.CancelledError and self.reason and self._task is not None:
            self._task.uncancel()
            raise _ERRORS[self.reason] from error

    @property
    def is_streaming(self) -> bool:
        """A stream towards the client is open."""
        return self._send is not None

    def end_within(self, seconds: float) -> None:
        """The caller waits no longer than this, whatever the phases would allow."""
        self._end = self._watch.loop.time() + seconds

    @property
    def was_hurried(self) -> bool:
        """The time that the caller itself named has passed."""
        return self._watch.loop.time() >= self._end

    def left_s(self, most: float) -> float:
        """Seconds that remain of the phase, at most `most`."""
        return min(most, max(0.0, self._last - self._watch.loop.time()))

    def phase(self, seconds: float, receive: Receive | None = None, *, total: float = math.inf) -> None:
        """From here on so many seconds, and never more than `total`. With `receive`, a disconnect cancels too."""
        now = self._began_at = self._watch.loop.time()
        last = now + total
        self._last = last = min(self._end, last)
        deadline = now + seconds
        self._deadline = min(last, deadline)
        self._receive = receive
        if receive is None and self._listener is not None:
            self._hear(None)

    def extend(self, seconds: float) -> None:
        """So many seconds from now, within the phase's total."""
        deadline, last = self._watch.loop.time() + seconds, self._last
        self._deadline = min(last, deadline)

    def settle(self) -> None:
        """No deadline and no disconnect any more: what is left must be done whether or not somebody waits."""
        self._deadline = math.inf
        self._receive = None
        if self._listener is not None:
            self._hear(None)

    def expire(self) -> None:
        """Its time is over now, as if its greatest age were reached."""
        self._cancel("timeout")

    def cancel(self) -> None:
        """The client took its request back. Too late once the phases are over: what is settled stays settled."""
        if self._deadline < math.inf:
            self._cancel("cancelled")

    def open(self, send: Send) -> None:
        """A stream towards the client has begun; from here on its silences are filled."""
        self._send, self._said_at = send, self._watch.loop.time()

    async def say(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the open stream; nothing when it has ended."""
        if self._comment is not None and not self._comment.done():
            await asyncio.wait((self._comment,))
        send = self._send
        if send is None:
            return
        if last:
            self._send = None
        await self._write(send, data, last=last)

    def look(self, now: float) -> None:
        """The watch's tick."""
        if self._promote is not None:
            if self._deadline < math.inf and (now >= self._deadline or now - self._began_at >= TICK_S):
                self._promote()
        elif now >= self._deadline:
            self._cancel("timeout")
        elif self._saying:
            if now - self._said_at >= self._watch.slow_reader_s:
                self._cancel("slow")
        elif now - self._said_at >= self._watch.keep_alive_s and self._send is not None:
            self._comment = asyncio.create_task(self._write(self._send, COMMENT))
        elif self._receive is not None and self._listener is None and now - self._began_at >= TICK_S:
            self._listener = asyncio.create_task(self._await_disconnect(self._receive))

    def _hear(self, receive: Receive | None) -> None:
        self._receive = receive
        if self._listener is not None and receive is None:
            self._listener.cancel()
            self._listener = None

    async def _write(self, send: Send, data: bytes, *, last: bool = False) -> None:
        self._saying, self._said_at = True, self._watch.loop.time()
        try:
            await send({"type": "http.response.body", "body": data, "more_body": not last})
        finally:
            self._saying = False

    def _cancel(self, reason: str) -> None:
        if not self.reason and self._task is not None:
            self.reason = reason
            self._task.cancel()

    async def _await_disconnect(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._cancel("disconnect")
                return


_ERRORS: dict[str, type[Exception]] = {
    "timeout": WatchedTimeoutError,
    "disconnect": ClientGoneError,
    "slow": ClientGoneError,
    "cancelled": CancelledByClientError,
}


class Watch:
    """Told in seconds: the silence after which a stream gets a comment, and the wait for a client that does not read."""

    def __init__(self, *, keep_alive_s: float = 15.0, slow_reader_s: float = 30.0) -> None:
        self.keep_alive_s, self.slow_reader_s = keep_alive_s, slow_reader_s
        self.loop = asyncio.get_running_loop()
        self.items: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._reviewed_at = 0.0

    def start(self) -> None:
        self._timer = self.loop.call_later(TICK_S, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def request(self) -> Watched:
        """Watch the current task, as a context manager."""
        return Watched(self)

    def end_listeners(self) -> None:
        """End the streams that would otherwise stay until somebody leaves, each in good order."""
        for item in tuple(self.items):
            if item.listens and item.is_streaming:
                item.expire()

    def _tick(self) -> None:
        now = self.loop.time()
        for item in tuple(self.items):
            item.look(now)
        if now - self._reviewed_at >= REVIEW_S:
            self._reviewed_at = now
            self._review()
        self._timer = self.loop.call_later(TICK_S, self._tick)

    def _review(self) -> None:
        """End what may not go on. Whoever cannot be judged may not."""
        for item in tuple(self.items):
            if item.review is None:
                continue
            try:
                stands = item.review()
            except Exception:
                log.exception("a stream could not be reviewed")
                stands = False
            if not stands:
                item.expire()
