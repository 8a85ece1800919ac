"""Load at a constant rate that does not wait: a call is due at its moment, however long the one before it takes.

Its latency is counted from that moment, so that a server that stalls is charged for every call that it kept waiting. (A loop that
waits for an answer before it asks again leaves those calls out.)
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any

import uvloop

from bench.load import Measurement, Request

MAX_CONNECTIONS = 256
_TICK_S = 0.001
_GRACE_S = 15.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def text_of(request: Request, port: int) -> bytes:
    """The request as it goes over the wire."""
    lines = [f"POST {request.path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(request.body)}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body


def measure(
    port: int, request: Request, *, seconds: float, per_second: float, watch: Callable[[float], None] | None = None
) -> Measurement:
    """Call at a rate for a time. `watch` is called about every second with the share of the time that has passed."""
    return uvloop.run(Steady(port, request).run(seconds, per_second, watch or (lambda _share: None)))


class Steady:
    def __init__(self, port: int, request: Request) -> None:
        self._port, self._text, self._expected = port, text_of(request, port), request.expected
        self._idle: list[_Connection] = []
        self._due: deque[float] = deque()
        self._opening = 0
        self._open_ones: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.waits = array("f")  # milliseconds
        self.wrong = self.broken = 0
        self.sample = ""
        self._last = -1  # how many calls there are in all, once that is known
        self._over = asyncio.Event()

    @property
    def _ended(self) -> int:
        return len(self.waits) + self.wrong + self.broken

    def _check_end(self) -> None:
        if self._ended == self._last:
            self._over.set()

    async def run(self, seconds: float, per_second: float, watch: Callable[[float], None]) -> Measurement:
        loop = self._loop = asyncio.get_running_loop()
        began, issued, total, watched = loop.time(), 0, int(seconds * per_second), 0.0
        while issued < total:
            elapsed = loop.time() - began
            while issued < min(total, int(elapsed * per_second)):
                self._due.append(began + issued / per_second)
                issued += 1
            self.pump()
            if elapsed - watched >= 1:
                watched = elapsed
                watch(elapsed / seconds)
            await asyncio.sleep(_TICK_S)
        took = loop.time() - began
        self._last = total
        self._check_end()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), _GRACE_S)
        seen = self._sum_up(took, unanswered=total - self._ended)
        for connection in tuple(self._open_ones):
            connection.close()
        await asyncio.sleep(0)
        return seen

    def pump(self) -> None:
        """Give what is due to whoever is idle, and open connections for the rest."""
        while self._due and self._idle:
            self._idle.pop().ask(self._text, self._due.popleft())
        while self._opening < len(self._due) and len(self._open_ones) + self._opening < MAX_CONNECTIONS:
            self._opening += 1
            task = self._loop.create_task(self._open())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        try:
            _, connection = await self._loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        except OSError:
            if self._due:
                self._due.popleft()
                self.broken += 1
                self._check_end()
            return
        finally:
            self._opening -= 1
        self._open_ones.add(connection)
        self._idle.append(connection)
        self.pump()

    def answered(self, connection: _Connection, due: float, head: bytes, body: bytes) -> None:
        if head.startswith(b"HTTP/1.1 200 ") and self._expected in body:
            self.waits.append((self._loop.time() - due) * 1000)
        else:
            self.wrong += 1
            self.sample = self.sample or (head[:100] + b" " + body[:400]).decode("utf-8", "replace")
        self._idle.append(connection)
        if self._due:
            self.pump()
        self._check_end()

    def closed(self, connection: _Connection, *, busy: bool) -> None:
        self._open_ones.discard(connection)
        if busy:
            self.broken += 1
            self._check_end()
        elif connection in self._idle:
            self._idle.remove(connection)
        if self._due:
            self.pump()

    def _sum_up(self, seconds: float, *, unanswered: int) -> Measurement:
        ordered = sorted(self.waits)

        def at(share: float) -> float:
            return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

        return Measurement(
            answers=len(ordered) + self.wrong,
            seconds=seconds,
            p50_ms=at(0.5),
            p99_ms=at(0.99),
            max_ms=at(1.0),
            wrong=self.wrong,
            broken=self.broken + unanswered,
            sample=self.sample,
        )


class _Connection(asyncio.Protocol):
    """One kept connection with one request under way."""

    def __init__(self, owner: Steady) -> None:
        self._owner, self._transport, self._held = owner, None, b""
        self._asked_at: float | None = None

    def ask(self, text: bytes, due: float) -> None:
        self._asked_at = due
        assert self._transport is not None
        self._transport.write(text)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._held + data
        end = data.find(b"\r\n\r\n")
        found = _LENGTH.search(data, 0, end + 2) if end >= 0 else None
        if self._asked_at is None or found is None or len(data) < (size := end + 4 + int(found[1])):
            self._held = data
            return
        due, self._asked_at, self._held = self._asked_at, None, data[size:]
        self._owner.answered(self, due, data[:end], data[end + 4 : size])

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.closed(self, busy=self._asked_at is not None)
