"""Load at a constant rate."""

import asyncio
import socket
from dataclasses import replace

import pytest

from bench.echo import Echo
from bench.load import Measurement, Request
from bench.steady import Steady
from bench.subjects import mcp_request


async def measured(request: Request, factory: type[asyncio.Protocol] = Echo, *, total: int = 100) -> Measurement:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(factory, sock=listener)
    try:
        port: int = listener.getsockname()[1]
        return await Steady(port, request).run(0.1, total * 10, lambda _share: None)
    finally:
        server.close()
        await asyncio.sleep(0.05)  # the server's ends close too


class Slow(Echo):
    """Answers, but not at once."""

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(0.3, super().data_received, data)


class Rude(asyncio.Protocol):
    """Leaves as soon as it is asked something."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.close()


def test_every_call_that_was_due_is_answered_once() -> None:
    seen = asyncio.run(measured(mcp_request("/mcp", {})))
    assert (seen.answers, seen.errors) == (100, 0)


def test_another_answer_than_the_expected_is_an_error_with_a_sample() -> None:
    seen = asyncio.run(measured(replace(mcp_request("/mcp", {}), expected=b"something else")))
    assert (seen.answers, seen.wrong) == (100, 100)
    assert "hello" in seen.sample


def test_calls_are_due_whether_or_not_those_before_were_answered() -> None:
    seen = asyncio.run(measured(mcp_request("/mcp", {}), Slow))
    assert (seen.answers, seen.errors) == (100, 0)
    assert seen.p50_ms >= 300


@pytest.mark.parametrize("total", [10, 50])
def test_a_connection_that_breaks_with_a_call_under_way_is_an_error(total: int) -> None:
    seen = asyncio.run(measured(mcp_request("/mcp", {}), Rude, total=total))
    assert (seen.answers, seen.broken) == (0, total)
