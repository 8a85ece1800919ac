"""Processes that ask one another over a real Valkey: replies, ends, errors, and an owner or a Valkey that is away."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as redis

from gateway.bus import PREFIX, Bus, BusAwayError, ProcessGoneError
from gateway.mcp.errors import RefusedError

KEY = b"k" * 32


class Relay:
    """A port in front of Valkey that can stop passing bytes, or drop every connection."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Relay]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._passing.set()
            self.drop()
            server.close()

    def hang(self) -> None:
        self._passing.clear()

    def go_on(self) -> None:
        self._passing.set()

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, ours}
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, ours), self._pump(theirs, writer))
        self._writers -= {writer, ours}
        writer.close()
        ours.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


def url_of(port: int | None = None) -> str:
    base = os.environ["REDIS_URL"]
    if port is None:
        return base
    head, _, path = base.rpartition(":")
    return f"{head}:{port}/{path.partition('/')[2]}"


def valkey_port() -> int:
    return int(os.environ["REDIS_URL"].rpartition(":")[2].partition("/")[0])


@contextlib.asynccontextmanager
async def bus_at(url: str = "", key: bytes = KEY) -> AsyncIterator[Bus]:
    bus = Bus(url or url_of(), key)
    bus.serve("count", count)
    bus.start()
    await until(lambda: bus.is_connected)
    try:
        yield bus
    finally:
        await bus.stop()


async def count(body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    for number in range(body["to"]):
        yield {"number": number, "of": body["to"]}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def replies(bus: Bus, process: str, kind: str, **body: Any) -> list[dict[str, Any]]:
    return [reply async for reply in bus.ask(process, kind, body)]


def run(act: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(act())  # type: ignore[arg-type]


def test_a_process_answers_another_and_itself() -> None:
    async def act() -> None:
        async with bus_at() as here, bus_at() as there:
            for process in (there.process, here.process):
                numbers = [reply["number"] for reply in await replies(here, process, "count", to=3)]
                assert numbers == [0, 1, 2]
                assert await replies(here, process, "count", to=0) == []

    run(act)


def test_every_digit_of_a_number_survives() -> None:
    async def act() -> None:
        async def echo(body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
            yield body

        async with bus_at() as here, bus_at() as there:
            there.serve("echo", echo)
            assert await replies(here, there.process, "echo", big=2**70) == [{"big": 2**70}]

    run(act)


def test_a_refusal_of_the_other_side_arrives_as_one() -> None:
    async def act() -> None:
        async def refuse(body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
            yield {}
            raise RefusedError("gateway.session_unknown", "Not that one.")

        async with bus_at() as here, bus_at() as there:
            there.serve("refuse", refuse)
            with pytest.raises(RefusedError, match=r"Not that one\.") as caught:
                await replies(here, there.process, "refuse")
            assert caught.value.kind.code == "gateway.session_unknown"

    run(act)


def test_a_process_that_has_ended_is_named_at_once() -> None:
    async def act() -> None:
        async with bus_at() as here:
            async with bus_at() as there:
                name = there.process
            with pytest.raises(ProcessGoneError):
                await replies(here, name, "count", to=1)

    run(act)


def test_a_process_that_dies_in_the_middle_ends_the_exchange() -> None:
    async def act() -> None:
        async def forever(body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
            yield {"begun": True}
            await asyncio.Event().wait()

        async with bus_at() as here, Relay(valkey_port()).open() as relay, bus_at(url_of(relay.port)) as there:
            there.serve("forever", forever)
            exchange = here.ask(there.process, "forever", {})
            assert await anext(exchange) == {"begun": True}
            # No goodbye reaches Valkey, as when a machine is switched off: the heartbeat runs out instead.
            relay.hang()
            async with redis.from_url(url_of()) as client:
                await client.delete(f"gateway:v1:process:{there.process}")
            with pytest.raises(ProcessGoneError):
                await anext(exchange)
            relay.go_on()

    run(act)


def test_an_asker_that_leaves_ends_the_work_of_the_other_side() -> None:
    async def act() -> None:
        ended = asyncio.Event()

        async def forever(body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
            try:
                yield {}
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with bus_at() as here, bus_at() as there:
            there.serve("forever", forever)
            async with contextlib.aclosing(here.ask(there.process, "forever", {})) as exchange:
                await anext(exchange)
            async with asyncio.timeout(20):
                await ended.wait()

    run(act)


def test_what_is_told_reaches_every_process_and_the_teller_first() -> None:
    async def act() -> None:
        heard: list[tuple[str, int]] = []
        async with bus_at() as here, bus_at() as there:
            here.hear("news", lambda body: heard.append(("here", body["n"])))
            there.hear("news", lambda body: heard.append(("there", body["n"])))
            here.tell("news", {"n": 1})
            assert heard == [("here", 1)]
            await until(lambda: len(heard) == 2)
            assert heard[1] == ("there", 1)

    run(act)


def test_a_restart_of_valkey_fails_what_is_under_way_and_all_goes_on_by_itself() -> None:
    async def act() -> None:
        async def forever(body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
            yield {}
            await asyncio.Event().wait()

        async with Relay(valkey_port()).open() as relay, bus_at(url_of(relay.port)) as here, bus_at() as there:
            gaps: list[bool] = []
            here.on_gap(lambda: gaps.append(True))
            there.serve("forever", forever)
            exchange = here.ask(there.process, "forever", {})
            await anext(exchange)
            relay.drop()
            with pytest.raises(BusAwayError):
                await anext(exchange)
            await until(lambda: here.is_connected)
            assert gaps == [True]
            assert len(await replies(here, there.process, "count", to=2)) == 2

    run(act)


def test_a_valkey_that_hangs_costs_a_question_a_moment_and_the_next_ones_nothing() -> None:
    async def act() -> None:
        async with Relay(valkey_port()).open() as relay, bus_at(url_of(relay.port)) as here, bus_at() as there:
            relay.hang()
            async with asyncio.timeout(20):
                for _ in range(1000):
                    # Were each of them to wait its fifth of a second, this would take minutes.
                    with pytest.raises(BusAwayError):
                        await replies(here, there.process, "count", to=1)
            relay.go_on()

    run(act)


def test_messages_are_sealed_for_their_channel() -> None:
    async def act() -> None:
        async with bus_at() as here, bus_at() as there, bus_at(key=b"x" * 32) as stranger:
            heard: list[Any] = []
            there.hear("news", heard.append)
            client = redis.from_url(url_of())
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(PREFIX + "all")
                here.tell("news", {"secret": "arguments"})
                data = b""
                while not data:
                    message = await pubsub.get_message(timeout=5)
                    data = message["data"] if message and message["type"] == "message" else b""
            assert b"arguments" not in data
            await until(lambda: len(heard) == 1)
            # Neither a copy on another channel nor a message under another key is believed.
            await client.publish(PREFIX + there.process, data)
            stranger.tell("news", {"secret": "forged"})
            here.tell("news", {"secret": "again"})
            await until(lambda: len(heard) >= 2)
            assert heard == [{"secret": "arguments"}, {"secret": "again"}]
            await client.aclose()

    run(act)
