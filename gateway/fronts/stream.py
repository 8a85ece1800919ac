"""Closed: after the answer nothing more is sent.

What a client of an initialize-era revision gets for one request: events when something comes before the answer or when the answer
takes its time, one JSON document when it comes alone and soon.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from gateway import answers
from gateway.answers import HeaderList, Send
from gateway.context import CallContext
from gateway.mcp import sse

# A stream that is open can be kept alive; an answer within this time needs none.
OPEN_AFTER_S = 2.0


class ClientStream:
    """As an async context manager; what remains open at its end is closed by whoever translates the failure."""

    def __init__(self, call: CallContext, send: Send) -> None:
        self._call, self._send = call, send
        self._lock = asyncio.Lock()
        self._opener: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> ClientStream:
        self._timer = asyncio.get_running_loop().call_later(OPEN_AFTER_S, self._open_late)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._settle()

    async def event(self, data: bytes) -> None:
        await self._open()
        event = sse.event(data)
        self._call.response_bytes += len(event)
        await answers.send_event(self._call, event)

    async def answer(self, data: bytes, more: HeaderList | None = None) -> None:
        await self._settle()
        if self._call.stream_started:
            await answers.send_event(self._call, sse.event(data), last=True)
        else:
            await answers.send_json(self._call, self._send, 200, data, more=more)

    async def _settle(self) -> None:
        """From here on nothing is opened beside what is sent."""
        if self._timer is not None:
            self._timer.cancel()
        if self._opener is not None:
            await asyncio.wait((self._opener,))

    def _open_late(self) -> None:
        self._opener = asyncio.create_task(self._open())

    async def _open(self) -> None:
        async with self._lock:
            if not self._call.stream_started:
                await answers.start_stream(self._call, self._send, [])
