"""What servers say of themselves is untrusted: no list of one server costs the others anything or fails the endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.aggregate import listings
from gateway.config import Deadlines
from tests.integration.gateway.conftest import META, Stage, body_of
from tests.support.gateways import World, config_for, running_gateway, serving
from tests.support.raw_servers import RawServer

ODD: list[Any] = [None, 2**70, "\x00", [[]], {"a": {}}]
GOOD = {"name": "echo", "description": "Says it again", "inputSchema": {"type": "object"}}


class Hostile(RawServer):
    """Lists `items` whatever is asked for, with `more` in the result."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Any] = []
        self.more: dict[str, Any] = {}
        for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list", "server/discover"):
            self.results[method] = self._answer_of

    def _answer_of(self, message: dict[str, Any]) -> bytes:
        member = listings.MEMBERS.get(message["method"], "capabilities")
        result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", member: self.items, **self.more}
        return json.dumps(result).encode()


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[Hostile, int]]:
    server = Hostile()
    with serving(server) as port:
        yield server, port


@pytest.fixture(scope="module")
def stage(build_stage: Any, urls: tuple[str, str], sdk_port: int, hostile: tuple[Hostile, int]) -> Iterator[Stage]:
    make, world, upstream = build_stage()
    # Patience with one server is shorter than with the whole request, as it is in production.
    deadlines = Deadlines(first_byte=20.0, idle=20.0, total=20.0, request_body=5.0)
    config = config_for(*urls, upstream.port, sdk_port, hostile[1], deadlines=deadlines)
    with running_gateway(config, world.loader) as base:
        yield make(base)


def fresh(stage: Stage, port: int) -> tuple[str, str]:
    """A key for a fresh entry of the hostile server and for an honest one; with the name of the entry."""
    world: World = stage.world
    owner = next(entry for entry in world.loader.tenants.values() if entry.slug == "initech")
    server = world.server(f"h{uuid4().hex[:8]}", f"http://127.0.0.1:{port}/mcp", owner)
    token, key = world.key(stage.acme)
    world.grant(stage.acme, server, key)
    world.grant(stage.acme, stage.servers["sdk"], key)
    return token, server.slug


def ask(stage: Stage, token: str, path: str, method: str, name: str | None = None, /, **params: Any) -> httpx.Response:
    headers = stage.modern(method, name) | {"authorization": f"Bearer {token}"}
    return httpx.post(f"{stage.base}{path}", content=body_of(method, params), headers=headers, timeout=20)


MEMBERS = ["name", "description", "inputSchema", "uri", "uriTemplate"]


@pytest.mark.parametrize("member", [*MEMBERS, "the item", "the list", "ttlMs", "cacheScope", "nextCursor"])
def test_no_odd_list_of_one_server_fails_the_endpoint_or_hides_another(
    stage: Stage, hostile: tuple[Hostile, int], member: str
) -> None:
    server, port = hostile
    for odd in ODD:
        server.more, server.items = {}, [GOOD, {**GOOD, member: odd}]
        if member == "the item":
            server.items = [GOOD, odd]
        elif member == "the list":
            server.items = odd
        elif member in {"ttlMs", "cacheScope", "nextCursor"}:
            server.items, server.more = [GOOD], {member: odd}
        token, slug = fresh(stage, port)
        for _ in range(2):
            listed = ask(stage, token, "/mcp", "tools/list")
            assert listed.status_code == 200, (odd, listed.text[:300])
            assert "sdk__echo" in [tool.get("name") for tool in listed.json()["result"]["tools"]]
        for method in ("resources/list", "resources/templates/list", "prompts/list", "server/discover"):
            answer = ask(stage, token, "/mcp", method)
            assert answer.status_code == 200, (method, odd, answer.text[:300])
        for tool, arguments in (
            ("marketplace_search_tools", {"query": "echo"}),
            ("marketplace_describe_tool", {"name": f"{slug}__echo"}),
        ):
            found = ask(stage, token, "/mcp", "tools/call", tool, name=tool, arguments=arguments)
            assert found.status_code == 200, (tool, odd, found.text[:300])
        direct = ask(stage, token, f"/mcp/{slug}", "tools/list")
        assert direct.status_code in {200, 502}, (odd, direct.text[:300])
        assert "gateway.internal" not in direct.text


def test_what_a_client_says_of_itself_takes_no_room(stage: Stage, hostile: tuple[Hostile, int]) -> None:
    server, port = hostile
    server.items, server.more = [GOOD], {}
    token, _ = fresh(stage, port)
    import gc
    import os

    import psutil

    gc.collect()
    before = psutil.Process(os.getpid()).memory_info().rss
    for number in range(240):
        meta = {**META, "io.modelcontextprotocol/clientCapabilities": {"experimental": {f"{number}": "x" * 900_000}}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
        headers = stage.modern("tools/list") | {"authorization": f"Bearer {token}"}
        answer = httpx.post(f"{stage.base}/mcp", content=json.dumps(message), headers=headers, timeout=20)
        assert answer.status_code in {200, 400, 413}
        server.asked.clear()
    gc.collect()
    assert psutil.Process(os.getpid()).memory_info().rss - before < 120 * 1024 * 1024


def test_names_longer_than_names_can_be_are_refused_before_they_are_decided(stage: Stage) -> None:
    from dataclasses import replace

    from access.types import SideEffect, ToolRule, Trust

    long = "a" * 256
    entry = stage.world.loader.servers[stage.servers["ok"].server_id]
    tools = {**entry.policy.tools, long: ToolRule(long, Trust.LOW, SideEffect.READ)}
    owner = next(tenant for tenant in stage.world.loader.tenants.values() if tenant.slug == "initech")
    server = stage.world.server("long-names", stage.upstream.url("ok"), owner)
    stage.world.change_server(server.server_id, policy=replace(server.policy, tools=tools))
    stage.world.grant(stage.acme, server, stage.key)
    stage.upstream.requests.clear()

    for name in (long + "b", "echo" + "_" * 300):
        answers = [
            ask(stage, stage.token, "/mcp/long-names", "tools/call", name, name=name, arguments={}),
            ask(
                stage,
                stage.token,
                "/mcp",
                "tools/call",
                f"long-names__{name}",
                name=f"long-names__{name}",
                arguments={},
            ),
            stage.invoke("long-names", name),
        ]
        assert all(answer.status_code in {400, 403, 404} for answer in answers), [answer.text for answer in answers]
    assert stage.upstream.requests == []


def test_one_organisations_slow_servers_do_not_delay_the_lists_of_another() -> None:
    asyncio.run(_slow_lists())


async def _slow_lists() -> None:
    """The gate before servers that are asked for lists is of one organisation alone."""
    gates = listings.Gates(1)
    one, other = uuid4(), uuid4()
    async with gates.of(one), asyncio.timeout(5), gates.of(other):
        pass
    assert len(gates) == 0
