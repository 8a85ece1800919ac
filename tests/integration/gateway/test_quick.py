"""A call that is taken at once is told from one that goes the ordinary way by nothing but its cost."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from gateway.app import Gateway
from gateway.config import Deadlines
from tests.integration.gateway.conftest import Stage, body_of
from tests.integration.gateway.test_observed import Shown
from tests.integration.gateway.test_routes import OWN
from tests.support.gateways import config_for, make_call_tables, serving
from tests.support.processes import wait_until
from tests.support.upstreams import BEHAVIOURS

CALLS = 3
# What takes seconds, remembers who asked before, or answers in no piece that has an end.
ODD = {"hang", "flaky", "stream-flood", "huge-headers"}
_TIMES = re.compile(rb"(?m)^(server-timing|x-marketplace-call-id|date): [^\r]*\r\n", re.IGNORECASE)


@dataclass
class Line:
    """One connection to the gateway, over which whole requests go in one piece."""

    stage: Stage
    sock: socket.socket
    received: bytes = b""

    def close(self) -> None:
        self.sock.close()

    def send(self, server: str, tool: str = "echo", **headers: str) -> None:
        body = body_of("tools/call", {"name": tool, "arguments": {"text": "x"}})
        lines = {
            "host": "127.0.0.1",
            **self.stage.modern("tools/call", tool),
            "content-length": str(len(body)),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.sock.sendall(f"POST /mcp/{server} HTTP/1.1\r\n{head}\r\n".encode() + body)

    def answer(self) -> bytes:
        """The next whole answer, by its length or its chunks."""
        while True:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            size = _size(head, rest) if end else -1
            if 0 <= size <= len(rest):
                self.received = rest[size:]
                return head + end + rest[:size]
            more = self.sock.recv(65536)
            assert more, self.received
            self.received += more

    def call(self, server: str, tool: str = "echo", **headers: str) -> bytes:
        self.send(server, tool, **headers)
        return self.answer()


def _size(head: bytes, rest: bytes) -> int:
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if length is not None:
        return int(length[1])
    return rest.find(b"0\r\n\r\n") + 5 if b"0\r\n\r\n" in rest else -1


@pytest.fixture(scope="module")
def served(build_stage: Callable[..., Any], urls: tuple[str, str]) -> Iterator[Stage]:
    make, world, upstream = build_stage()
    deadlines = Deadlines(first_byte=10.0, idle=2.0, total=20.0, request_body=2.0, connect=5.0)
    gateway = Gateway(config_for(*urls, upstream.port, deadlines=deadlines), world.loader)
    with serving(Shown(gateway)) as port:
        yield make(f"http://127.0.0.1:{port}")


@pytest.fixture
def stage(served: Stage) -> Stage:
    """A fresh organisation with a key."""
    tenant = served.world.tenant(f"t{uuid4().hex[:8]}")
    make_call_tables(served.database_url, [tenant.schema_name])
    token, key = served.world.key(tenant)
    return replace(served, acme=served.world.loader.tenants[tenant.tenant_id], token=token, key=key)


def _open(stage: Stage) -> Line:
    sock = socket.create_connection(("127.0.0.1", urlsplit(stage.base).port or 0), timeout=20)
    return Line(stage, sock)


def _server(stage: Stage, behaviour: str, **changes: Any) -> str:
    """The name of a fresh server that behaves so, for which the organisation has a grant."""
    slug = f"s{uuid4().hex[:8]}"
    # An address of its own: what is known of a server, its connections too, goes by that.
    server = stage.world.server(slug, f"{stage.upstream.url(behaviour)}?{slug}", stage.globex, **changes)
    stage.world.grant(stage.acme, server, stage.key)
    return server.slug


def _taken(stage: Stage) -> int:
    text = httpx.get(f"{stage.base}/metrics").text
    return int(float(re.search(r"(?m)^mcp_gateway_quick_calls (\S+)", text)[1]))  # type: ignore[index]


def _seen(answer: bytes, slug: str) -> bytes:
    """An answer without what is each call's own."""
    return re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}", b"ID", _TIMES.sub(b"", answer)).replace(slug.encode(), b"SERVER")


def _rows(stage: Stage, slug: str) -> list[dict[str, Any]]:
    own = OWN | {"server_id", "server_name", "server_version_id", "provider_id", "price_version_id", "grant_id"}
    rows = [row for row in stage.rows(stage.acme) if row["server_name"] == slug]
    return [{name: value for name, value in row.items() if name not in own | {"policy_revision"}} for row in rows]


@pytest.mark.parametrize("behaviour", sorted(BEHAVIOURS.keys() - ODD))
def test_it_gets_the_answer_and_the_row_of_any_other_call_whatever_the_server_does(
    stage: Stage, behaviour: str
) -> None:
    found = []
    servers = [_server(stage, behaviour), _server(stage, behaviour)]
    # A header that differs makes a head that is not known.
    for slug, vary in zip(servers, (True, False), strict=True):
        with closing(_open(stage)) as line:
            answers = [line.call(slug, **({"x-number": str(number)} if vary else {})) for number in range(CALLS)]
        found.append(([_seen(each, slug) for each in answers], _rows(stage, slug)))
    (ordinary, their_rows), (quick, rows) = found
    assert quick == ordinary
    assert rows == their_rows


def test_calls_on_a_known_way_are_taken_at_once_and_those_with_another_head_are_not(stage: Stage) -> None:
    slug = _server(stage, "ok")
    with closing(_open(stage)) as line:
        before = _taken(stage)
        for number in range(CALLS):
            line.call(slug, **{"x-number": str(number)})
        assert _taken(stage) == before
        for _ in range(CALLS):
            line.call(slug)
        assert _taken(stage) == before + CALLS - 1
    assert len(_rows(stage, slug)) == 2 * CALLS


def test_a_body_that_differs_under_the_same_head_is_read(stage: Stage) -> None:
    slug = _server(stage, "ok")
    with closing(_open(stage)) as line:
        for _ in range(2):
            line.call(slug)
        good = body_of("tools/call", {"name": "echo", "arguments": {"text": "x"}})
        other = good.replace(b'"echo"', b'"fail"')
        lines = {"host": "127.0.0.1", **stage.modern("tools/call", "echo"), "content-length": str(len(good))}
        head = "POST /mcp/" + slug + " HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        line.sock.sendall(head.encode() + b"\r\n" + other)
        answer = json.loads(line.answer().partition(b"\r\n\r\n")[2])
        line.sock.sendall(head.encode() + b"\r\n" + b"x" * len(good))
        garbage = line.answer()
    assert answer["error"]["data"]["code"] == "gateway.header_mismatch"
    assert garbage.startswith(b"HTTP/1.1 400 ")


def test_a_grant_that_ends_refuses_the_very_next_call_on_the_same_connection(stage: Stage) -> None:
    slug = _server(stage, "ok")
    with closing(_open(stage)) as line:
        for _ in range(CALLS):
            assert b'"done"' in line.call(slug)
        stage.world.change(stage.acme.tenant_id, grants={})

        def is_refused() -> bool:
            return b'"done"' not in line.call(slug)

        wait_until(is_refused, 10)
    assert [row["allowed"] for row in _rows(stage, slug)].count(False) == 1


def test_requests_that_arrive_together_are_answered_in_their_order(stage: Stage) -> None:
    slug, slow = _server(stage, "ok"), _server(stage, "tool-error")
    with closing(_open(stage)) as line:
        for _ in range(2):
            line.call(slug)
        for server in (slug, slow, slug, slug):
            line.send(server)
        answers = [line.answer() for _ in range(4)]
    assert [b'"isError": true' in each for each in answers] == [False, True, False, False]
    assert len(_rows(stage, slug)) == 5


def test_a_server_that_takes_longer_than_a_moment_is_waited_for_and_a_hung_one_is_not(stage: Stage) -> None:
    hung = _server(stage, "hang", timeout_s=1)
    with closing(_open(stage)) as line:
        for _ in range(2):
            answer = json.loads(line.call(hung).partition(b"\r\n\r\n")[2])
            assert answer["error"]["data"]["code"] == "upstream.timeout"
    assert [row["outcome"] for row in _rows(stage, hung)] == ["timeout"] * 2


def test_a_call_whose_client_leaves_is_recorded_once(stage: Stage) -> None:
    slug = _server(stage, "ok")
    with closing(_open(stage)) as line:
        for _ in range(2):
            line.call(slug)
        line.send(slug)
    wait_until(lambda: len(_rows(stage, slug)) == 3, 10)


def test_a_row_that_cannot_be_recorded_is_an_answer_that_is_withheld(stage: Stage) -> None:
    slug = _server(stage, "ok")
    with closing(_open(stage)) as line:
        for _ in range(2):
            line.call(slug)
        schema = stage.acme.schema_name
        with psycopg.connect(stage.database_url, autocommit=True) as conn:
            conn.execute(
                f"ALTER TABLE \"{schema}\".calls_call ADD CHECK (occurred_at < now() - interval '1 day') NOT VALID"
            )
        answer = line.call(slug)
    assert b'"done"' not in answer
    assert b"not_recorded" in answer
