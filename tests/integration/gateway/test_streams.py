"""Streams towards clients: silences are filled, and whoever does not read is dropped."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.config import Deadlines, Limits
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import config_for, running_gateway
from tests.support.processes import wait_until


@pytest.fixture(scope="module")
def stage(build_stage: Callable[..., Any], urls: tuple[str, str], sdk_port: int) -> Iterator[Stage]:
    """A gateway that fills silences of a fifth of a second, and waits a second for a slow reader."""
    make, world, upstream = build_stage()
    deadlines = Deadlines(keep_alive=0.2, slow_reader=1.0)
    limits = Limits(connections_per_server=4)
    config = config_for(
        *urls,
        upstream.port,
        sdk_port,
        deadlines=deadlines,
        limits=limits,
        allowed_origins=frozenset({"https://page.example"}),
    )
    with running_gateway(config, world.loader) as base:
        yield make(base)


def test_a_silent_stream_gets_comments_between_its_events(stage: Stage) -> None:
    response = stage.call("stream-quiet")
    assert response.headers["x-accel-buffering"] == "no"
    lines = response.text.splitlines()
    assert ": keep-alive" in lines
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [event.get("method", "answer") for event in events] == ["notifications/progress", "answer"]


def test_a_page_that_the_operator_named_reads_a_stream(stage: Stage) -> None:
    for origin, status in (
        ("https://page.example", 200),
        ("http://page.example", 403),
        ("https://page.example:1", 403),
    ):
        response = httpx.post(
            f"{stage.base}/mcp/stream",
            content=body_of("tools/call", {"name": "echo", "arguments": {}}),
            headers=stage.modern("tools/call", "echo", origin=origin),
            timeout=10,
        )
        assert response.status_code == status, origin
        assert response.headers.get("access-control-allow-origin") == (origin if status == 200 else None)


def test_a_client_that_does_not_read_is_dropped(stage: Stage) -> None:
    body = body_of("tools/call", {"name": "echo", "arguments": {}})
    headers = stage.modern("tools/call", "echo", content_length=str(len(body)), host="127.0.0.1")
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    url = httpx.URL(stage.base)
    with contextlib.closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((url.host, url.port))
        sock.sendall(f"POST /mcp/stream-flood HTTP/1.1\r\n{head}\r\n".encode() + body)
        wait_until(lambda: outcomes_of(stage, "stream-flood") != [], "the call to end")
    assert outcomes_of(stage, "stream-flood") == ["unknown"]


def test_those_who_listen_leave_connections_for_those_who_call(stage: Stage) -> None:
    url, headers = f"{stage.base}/mcp/stream-hangs", stage.headers()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            listening = stack.enter_context(httpx.stream("GET", url, headers=headers, timeout=10))
            assert listening.status_code == 200
        refused = httpx.get(url, headers=headers, timeout=10)
        assert (refused.status_code, refused.json()["error"]["data"]["code"]) == (503, "upstream.busy")
        call = body_of("tools/call", {"name": "echo", "arguments": {}})
        asked = httpx.stream("POST", url, content=call, headers=stage.modern("tools/call", "echo"), timeout=10)
        with asked as answering:
            assert answering.status_code == 200
    wait_until(lambda: httpx_status(url, headers) == 200, "a place")


def httpx_status(url: str, headers: dict[str, str]) -> int:
    with httpx.stream("GET", url, headers=headers, timeout=10) as response:
        return response.status_code


def outcomes_of(stage: Stage, server: str) -> list[str]:
    return [row["outcome"] for row in stage.rows() if row["server_name"] == server]
