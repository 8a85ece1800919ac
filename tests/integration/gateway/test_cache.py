"""Results that a server allows to be kept are kept, and nobody gets what was kept for somebody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from access.types import ToolTerm
from gateway import cache
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import config_for, running_gateway, serving
from tests.support.raw_servers import RawServer

HOUR = 3_600_000


def result(ttl: Any = HOUR, scope: str | None = "public", **more: Any) -> bytes:
    body = {"resultType": "complete", "tools": [], "contents": [], "resources": [], "ttlMs": ttl, **more}
    return json.dumps(body if scope is None else {**body, "cacheScope": scope}).encode()


class Cached:
    """A stage with one server, a fresh entry of it for every test so that nothing is held yet."""

    def __init__(self, stage: Stage, server: RawServer, port: int) -> None:
        self.stage, self.server, self.port = stage, server, port
        self.count = 0
        self.slug = ""

    def fresh(self) -> str:
        """A server that no gateway has asked anything, and a key for it."""
        self.count += 1
        self.slug = f"cached-{self.count}"
        owner = next(entry for entry in self.stage.world.loader.tenants.values() if entry.slug == "initech")
        self.entry = self.stage.world.server(
            self.slug, f"http://127.0.0.1:{self.port}/mcp", owner, protocol="2026-07-28"
        )
        self.server.asked.clear()
        self.server.notes.clear()
        return self.key()

    def key(self, tenant: Any = None) -> str:
        tenant = tenant or self.stage.acme
        token, key = self.stage.world.key(tenant)
        self.stage.world.grant(tenant, self.entry, key)
        return token

    def ask(
        self, token: str, method: str = "resources/list", name: str | None = None, /, **params: Any
    ) -> httpx.Response:
        headers = self.stage.modern(method, name) | {"authorization": f"Bearer {token}"}
        content = body_of(method, params, f"id-{len(self.server.asked)}-{threading.get_ident()}")
        return httpx.post(f"{self.stage.base}/mcp/{self.slug}", content=content, headers=headers, timeout=10)


@pytest.fixture(scope="module")
def raw() -> Iterator[tuple[RawServer, int]]:
    server = RawServer()
    with serving(server) as port:
        yield server, port


@pytest.fixture(scope="module")
def cached(build_stage: Any, urls: tuple[str, str], sdk_port: int, raw: tuple[RawServer, int]) -> Iterator[Cached]:
    make, world, upstream = build_stage()
    with running_gateway(config_for(*urls, upstream.port, sdk_port, raw[1]), world.loader) as base:
        yield Cached(make(base), *raw)


def test_a_public_result_serves_every_key_and_each_answer_is_recorded(cached: Cached) -> None:
    first, second = cached.fresh(), cached.key()
    cached.server.results["resources/list"] = result()
    one, two = cached.ask(first), cached.ask(second)
    assert cached.server.count("resources/list") == 1
    assert one.json()["result"]["resources"] == two.json()["result"]["resources"]
    assert two.json()["id"] != one.json()["id"]
    row = cached.stage.row(two)
    assert (row["outcome"], row["allowed"], row["attempts"], row["upstream_ms"]) == ("ok", True, 0, 0)


def test_what_is_left_of_the_time_is_told(cached: Cached) -> None:
    token = cached.fresh()
    cached.server.results["resources/list"] = result()
    cached.ask(token)
    assert HOUR - 60_000 < cached.ask(token).json()["result"]["ttlMs"] < HOUR


@pytest.mark.parametrize("scope", ["private", None])
def test_a_private_result_is_never_served_to_another_key(cached: Cached, scope: str | None) -> None:
    first, second = cached.fresh(), cached.key()
    foreign = cached.key(cached.stage.globex)
    cached.server.results["resources/list"] = result(scope=scope)
    for token in (first, second, foreign, first):
        assert cached.ask(token).status_code == 200
    assert cached.server.count("resources/list") == 3


@pytest.mark.parametrize(
    "answer",
    [
        result(ttl=0),
        result(ttl=-1),
        result(ttl=True),
        result(ttl="1000"),
        result(resultType="input_required"),
        b'{"resultType":"complete","resources":[]}',
    ],
)
def test_what_a_server_does_not_offer_to_keep_is_asked_for_each_time(cached: Cached, answer: bytes) -> None:
    token = cached.fresh()
    cached.server.results["resources/list"] = answer
    cached.ask(token)
    cached.ask(token)
    assert cached.server.count("resources/list") == 2


def test_reads_are_kept_by_their_uri_and_pages_by_their_cursor(cached: Cached) -> None:
    token = cached.fresh()
    cached.server.results["resources/read"] = cached.server.results["resources/list"] = result()
    for uri in ("test://a", "test://b", "test://a"):
        cached.ask(token, "resources/read", uri, uri=uri)
    for cursor in ("1", "2", "1"):
        cached.ask(token, cursor=cursor)
    assert (cached.server.count("resources/read"), cached.server.count("resources/list")) == (2, 2)


def test_requests_that_carry_more_than_is_understood_are_not_answered_from_memory(cached: Cached) -> None:
    token = cached.fresh()
    cached.server.results["resources/read"] = result()
    for more in ({}, {"requestState": "s", "inputResponses": {}}, {"other": 1}):
        cached.ask(token, "resources/read", "test://a", uri="test://a", **more)
    assert cached.server.count("resources/read") == 3


def test_a_list_of_tools_from_memory_is_narrowed_for_each_caller(cached: Cached) -> None:
    token = cached.fresh()
    tools = [{"name": "echo", "inputSchema": {}}, {"name": "add", "inputSchema": {}}]
    cached.server.results["tools/list"] = result(tools=tools)
    narrow, key = cached.stage.world.key(cached.stage.acme)
    cached.stage.world.grant(cached.stage.acme, cached.entry, key, tool_rules={"add": ToolTerm()})
    assert cached.ask(token, "tools/list").json()["result"]["tools"] == tools
    assert cached.ask(narrow, "tools/list").json()["result"]["tools"] == tools[1:]
    assert cached.server.count("tools/list") == 1


def test_a_denied_caller_gets_nothing_from_memory(cached: Cached) -> None:
    token = cached.fresh()
    cached.server.results["resources/list"] = result()
    cached.ask(token)
    stranger, _ = cached.stage.world.key(cached.stage.globex)
    assert cached.ask(stranger).status_code == 403


def test_news_of_a_change_makes_a_result_stale(cached: Cached) -> None:
    token = cached.fresh()
    cached.server.results["resources/list"] = cached.server.results["resources/read"] = result()
    cached.server.results["tools/call"] = b'{"resultType":"complete","content":[]}'
    note = {"jsonrpc": "2.0", "method": "notifications/resources/list_changed"}
    cached.ask(token)
    cached.server.notes["tools/call"] = [json.dumps(note).encode()]
    cached.ask(token, "tools/call", "echo", name="echo", arguments={})
    cached.ask(token)
    assert cached.server.count("resources/list") == 2
    note = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "test://a"}}
    cached.server.notes["tools/call"] = [json.dumps(note).encode()]
    for uri in ("test://a", "test://b"):
        cached.ask(token, "resources/read", uri, uri=uri)
    cached.ask(token, "tools/call", "echo", name="echo", arguments={})
    for uri in ("test://a", "test://b"):
        cached.ask(token, "resources/read", uri, uri=uri)
    assert cached.server.count("resources/read") == 3


def test_a_result_on_a_stream_is_kept_too(cached: Cached) -> None:
    token = cached.fresh()
    cached.server.results["resources/list"] = result()
    cached.server.notes["resources/list"] = []
    cached.ask(token)
    assert cached.ask(token).json()["result"]["resources"] == []
    assert cached.server.count("resources/list") == 1


def test_when_a_result_ends_one_asks_and_the_others_wait(cached: Cached) -> None:
    token = cached.fresh()
    cached.server.results["resources/list"] = result(ttl=1)
    cached.ask(token)
    cached.server.results["resources/list"] = result()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: cached.ask(token).status_code, range(6)))
    assert answers == [200] * 6
    assert cached.server.count("resources/list") == 2


def test_what_is_kept_is_bounded(cached: Cached, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_RESULTS", 1)
    token = cached.fresh()
    cached.server.results["resources/list"] = result()
    for cursor in ("1", "2", "1"):
        cached.ask(token, cursor=cursor)
    assert cached.server.count("resources/list") == 3
