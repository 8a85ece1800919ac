"""Open event streams through one gateway process: what each costs in memory, whether they live, and how calls do meanwhile.

Half of them listen to a server that tells something every ten seconds, half to one that says nothing, so that only keep-alives
of the gateway come.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import uvloop

from bench import steady
from bench.echo import MODERN
from bench.load import Measurement, Request

CALLS_PER_SECOND = 200
_AT_ONCE = 50  # connections that are being opened
_OPEN_WITHIN_S = 120.0
# Longer than the gateway keeps silent on a stream (15 s), and three events of the server.
LISTEN_S = 35.0


@dataclass(frozen=True, kw_only=True)
class Streams:
    """What was seen. Memory in kilobytes of the gateway process, per stream."""

    wanted: int
    opened: int
    lost: int
    memory_kb: float
    events: int
    keep_alives: int
    silent: int  # streams that got nothing after they were opened
    calls: Measurement

    @property
    def problem(self) -> str:
        if self.opened < self.wanted:
            return f"{self.wanted - self.opened} of {self.wanted} streams were not opened"
        if self.lost:
            return f"{self.lost} streams ended early"
        return f"{self.silent} streams were silent" if self.silent else ""


def measure(port: int, request: Request, count: int, memory_mb: Callable[[], float]) -> Streams:
    """Open so many streams beside the call that `request` is, hold them, and call meanwhile."""
    before = memory_mb()
    with _held(port, request, count) as listeners:
        per_stream = (memory_mb() - before) * 1000 / count
        calls = steady.measure(port, request, seconds=LISTEN_S, per_second=CALLS_PER_SECOND)
        opened = [each for each in listeners if each.acknowledged]
        return Streams(
            wanted=count,
            opened=len(opened),
            lost=sum(each.is_over for each in opened),
            memory_kb=per_stream,
            events=sum(each.events for each in opened),
            keep_alives=sum(each.keep_alives for each in opened),
            silent=sum(not (each.events or each.keep_alives) for each in opened),
            calls=calls,
        )


@contextmanager
def _held(port: int, request: Request, count: int) -> Iterator[list[Listener]]:
    """Streams in a thread of their own, opened; closed when the block ends."""
    listeners = [Listener() for _ in range(count)]
    ready, loop = threading.Event(), uvloop.new_event_loop()
    over = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_hold(port, request, listeners, ready, over)))
    thread.start()
    try:
        ready.wait(_OPEN_WITHIN_S)
        yield listeners
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _hold(
    port: int, request: Request, listeners: list[Listener], ready: threading.Event, over: asyncio.Event
) -> None:
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)

    async def open_one(number: int, listener: Listener) -> None:
        async with gate:
            try:
                transport, _ = await loop.create_connection(lambda: listener, "127.0.0.1", port)
            except OSError:
                return
            transport.write(steady.text_of(_listen(request, number), port))
            await asyncio.wait([listener.began], timeout=30)

    for listener in listeners:
        listener.began = loop.create_future()
    await asyncio.gather(*(open_one(number, listener) for number, listener in enumerate(listeners)))
    ready.set()
    await over.wait()
    for listener in listeners:
        listener.close()
    await asyncio.sleep(0.5)


def _listen(request: Request, number: int) -> Request:
    wanted = {"toolsListChanged": True} if number % 2 else {"promptsListChanged": True}
    meta = orjson.loads(request.body)["params"]["_meta"]
    params = {"notifications": wanted, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": f"L{number}", "method": "subscriptions/listen", "params": params}
    headers = {name: value for name, value in request.headers.items() if name != "Mcp-Name"}
    headers |= {"Mcp-Method": "subscriptions/listen", "MCP-Protocol-Version": MODERN}
    return Request(path=request.path, headers=headers, body=orjson.dumps(message), expected=b"")


class Listener(asyncio.Protocol):
    """One stream: its events are counted, not read."""

    def __init__(self) -> None:
        self.events = self.keep_alives = 0
        self.acknowledged = self.is_over = False
        self.began: asyncio.Future[None]
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.acknowledged:
            if b"subscriptions/acknowledged" in data:
                self.acknowledged = True
                self._begin()
            return
        self.events += data.count(b"data: {")
        self.keep_alives += data.count(b"\n:") + data.startswith(b":")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._begin()

    def close(self) -> None:
        if self._transport is not None and not self.is_over:
            self._transport.abort()

    def _begin(self) -> None:
        if not self.began.done():
            self.began.set_result(None)
