"""Input that is large, deep, odd or slow: refused with a reason, and nothing of it stays behind."""

from __future__ import annotations

import gc
import json
import os
import resource
import socket
import zlib
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.integration.gateway.conftest import META, Stage, body_of
from tests.support.processes import wait_until

GROWTH_MAX = 50 * 1024 * 1024
CONNECTIONS = 300
SLOW = 2000


def arguments(text: str) -> bytes:
    params = f'{{"name":"echo","arguments":{text},"_meta":{json.dumps(META)}}}'
    return f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}'.encode()


ATTACKS = {
    "a hundred thousand levels": arguments("[" * 100_000 + "]" * 100_000),
    "levels that never close": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b"[" * 900_000,
    "a hundred thousand keys": arguments("{" + ",".join(f'"k{n}":1' for n in range(80_000)) + "}"),
    "keys that collide": arguments("{" + ",".join('"k":1' for _ in range(100_000)) + "}"),
    "a number of half a million digits": arguments('{"n":' + "9" * 500_000 + "}"),
    "an exponent without end": arguments('{"n":1e' + "9" * 400_000 + "}"),
    "a text of escapes": arguments('{"t":"' + "\\u0041" * 150_000 + '"}'),
    "half a surrogate": arguments('{"t":"\\ud800"}'),
    "bytes that are no text": b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe","params":{}}',
    "an id of a megabyte": b'{"jsonrpc":"2.0","id":"' + b"x" * 900_000 + b'","method":"ping"}',
    "a method of a megabyte": b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 900_000 + b'"}',
}


@pytest.fixture
def growth(stage: Stage) -> Iterator[None]:
    """The gateway runs in this process; what an attack leaves behind is this process' growth."""
    gc.collect()
    before = psutil.Process(os.getpid()).memory_info().rss
    yield
    gc.collect()
    assert psutil.Process(os.getpid()).memory_info().rss - before < GROWTH_MAX


@pytest.mark.usefixtures("growth")
@pytest.mark.parametrize("name", ATTACKS)
def test_a_document_made_to_hurt_is_answered_and_forgotten(stage: Stage, name: str) -> None:
    for _ in range(5):
        answer = httpx.post(
            f"{stage.base}/mcp/ok", content=ATTACKS[name], headers=stage.modern("tools/call", "echo"), timeout=20
        )
        assert answer.status_code != 500
        assert answer.status_code < 500 or answer.json()["error"]
    assert stage.call("ok").status_code == 200


@pytest.mark.usefixtures("growth")
def test_a_compressed_body_is_not_opened(stage: Stage) -> None:
    bomb = zlib.compress(b" " * 50_000_000)
    headers = stage.modern("tools/call", "echo") | {"content-encoding": "deflate"}
    answer = httpx.post(f"{stage.base}/mcp/ok", content=bomb, headers=headers, timeout=20)

    assert answer.status_code in {400, 415}


def _descriptors() -> int:
    return psutil.Process(os.getpid()).num_fds()


def _half_open(stage: Stage) -> socket.socket:
    host, _, port = stage.base.removeprefix("http://").partition(":")
    sock = socket.create_connection((host, int(port)), timeout=10)
    sock.sendall(b"POST /mcp/ok HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n")
    return sock


def test_callers_who_never_finish_do_not_keep_others_waiting(stage: Stage) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    before = _descriptors()
    # Both ends of each are in this process.
    slow = [_half_open(stage) for _ in range(min(SLOW, most // 4))]
    try:
        assert all(stage.call("ok").status_code == 200 for _ in range(20))
    finally:
        for sock in slow:
            sock.close()
    wait_until(lambda: _descriptors() <= before + 10, "the connections to be let go")


def test_callers_who_leave_in_the_middle_leave_no_connection_behind(stage: Stage) -> None:
    assert stage.call("ok").status_code == 200
    before = _descriptors()
    host, _, port = stage.base.removeprefix("http://").partition(":")
    for _ in range(CONNECTIONS):
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            body = body_of("tools/call", {"name": "slow", "arguments": {}})
            lines = [f"{name}: {value}" for name, value in stage.modern("tools/call", "slow").items()]
            lines += [f"host: {host}:{port}", f"content-length: {len(body)}"]
            head = "\r\n".join(["POST /mcp/hang HTTP/1.1", *lines, "", ""])
            sock.sendall(head.encode() + body)
    wait_until(lambda: _descriptors() <= before + 10, "connections to the server to be closed")
    assert stage.call("ok").status_code == 200
