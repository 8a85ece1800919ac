"""A TCP proxy that does to connections what networks and dying machines do to them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum

CHUNK = 65536


class Mode(StrEnum):
    PASS = "pass"
    REFUSE = "refuse"  # connections are reset before a byte
    HANG = "hang"  # nothing moves any more, on connections old and new, and nothing is closed
    HALF = "half"  # so many bytes of the answer, then a reset
    DRIP = "drip"  # one byte of the answer at a time


@dataclass(frozen=True)
class Fault:
    mode: Mode = Mode.PASS
    latency_s: float = 0.0
    jitter_s: float = 0.0
    after_bytes: int = 40
    every_s: float = 0.2


@dataclass
class FaultProxy:
    """Forwards 127.0.0.1:`port` to another port of this machine, as its current fault allows."""

    target: int
    port: int = 0
    fault: Fault = field(default_factory=Fault)
    accepted: int = 0

    async def start(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        self.reset_all()

    def set(self, fault: Fault) -> None:
        self.fault = fault
        self._changed.set()
        self._changed = asyncio.Event()
        if fault.mode is Mode.REFUSE:
            self.reset_all()

    def heal(self) -> None:
        self.set(Fault())

    def reset_all(self) -> None:
        for writer in tuple(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.fault.mode is Mode.REFUSE:
            _reset(writer)
            return
        self._writers.add(writer)
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self._writers.discard(writer)
            _reset(writer)
            return
        self._writers.add(there)
        pumps = [
            asyncio.create_task(self._pump(reader, there, answering=False)),
            asyncio.create_task(self._pump(there_reader, writer, answering=True)),
        ]
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for each in (writer, there):
                self._writers.discard(each)
                each.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answering: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                while self.fault.mode is Mode.HANG:
                    await self._changed.wait()
                fault = self.fault
                if fault.latency_s or fault.jitter_s:
                    await asyncio.sleep(fault.latency_s + random.random() * fault.jitter_s)
                if answering and fault.mode is Mode.HALF:
                    sink.write(data[: max(0, fault.after_bytes - passed)])
                    await sink.drain()
                    _reset(sink)
                    return
                if answering and fault.mode is Mode.DRIP:
                    await self._drip(data, sink, fault)
                else:
                    sink.write(data)
                    await sink.drain()
                passed += len(data)

    async def _drip(self, data: bytes, sink: asyncio.StreamWriter, fault: Fault) -> None:
        for index in range(len(data)):
            sink.write(data[index : index + 1])
            await sink.drain()
            if self.fault is fault:
                await asyncio.sleep(fault.every_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a host that went away does."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() != -1:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
