"""Servers that are unwell: what is tried again, what is left alone, and where calls go when there are several addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from access.types import PolicyMode, ServerPolicy, SideEffect, ToolRule, Trust
from catalog import names
from gateway.config import AdmissionConfig
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import config_for, make_call_tables, running_gateway

TOOLS = {
    "echo": ToolRule("echo", Trust.LOW, SideEffect.READ, idempotent=True),
    "look": ToolRule("look", Trust.LOW, SideEffect.READ),
    "write": ToolRule("write", Trust.LOW, SideEffect.WRITE, idempotent=True),
}


@pytest.fixture(scope="module")
def stage(build_stage: Any, urls: tuple[str, str], sdk_port: int) -> Iterator[Stage]:
    make, world, upstream = build_stage()
    config = config_for(
        *urls, upstream.port, 9, sdk_port, admission=AdmissionConfig(per_server=2, queue=1, queue_s=0.2)
    )
    with running_gateway(config, world.loader) as base:
        yield make(base)


@dataclass
class Served:
    """A fresh organisation with a server of its own, as the gateway sees it for the first time."""

    stage: Stage
    slug: str

    def call(self, tool: str = "echo", **arguments: Any) -> httpx.Response:
        return self.stage.call(self.slug, tool, **arguments)

    def once(self, tool: str = "echo") -> tuple[httpx.Response, int]:
        """One call with a nonce of its own, and how often the server saw it."""
        nonce = uuid4().hex
        response = self.call(tool, nonce=nonce)
        return response, len([each for each in self.stage.upstream.requests if nonce.encode() in each.body])

    def by(self, way: str, tool: str, **arguments: Any) -> httpx.Response:
        """The same call by another way than the server's own address."""
        if way == "invoke":
            return self.stage.invoke(self.slug, tool, **arguments)
        name = names.expose(self.slug, tool)
        content = body_of("tools/call", {"name": name, "arguments": arguments})
        headers = self.stage.modern("tools/call", name)
        return httpx.post(f"{self.stage.base}/mcp", content=content, headers=headers, timeout=10)

    def post(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        return httpx.post(f"{self.stage.base}/mcp/{self.slug}", content=body, headers=headers, timeout=10)


def serve(stage: Stage, behaviour: str, **changes: Any) -> Served:
    world, slug = stage.world, f"s{uuid4().hex[:8]}"
    tenant = world.tenant(f"t{uuid4().hex[:8]}")
    make_call_tables(stage.database_url, [tenant.schema_name])
    token, key = world.key(tenant)
    server = world.server(slug, stage.upstream.url(behaviour), tenant)
    policy = ServerPolicy(server.server_id, PolicyMode.ALLOW_LIST, Trust.LOW, TOOLS)
    server = world.loader.servers[server.server_id] = replace(server, policy=policy, **changes)
    world.grant(tenant, server, key, side_effects=frozenset(SideEffect))
    tenant = world.loader.tenants[tenant.tenant_id]
    return Served(replace(stage, acme=tenant, token=token, key=key), slug)


class TestRepeats:
    def test_a_tool_that_reads_and_may_be_repeated_is_tried_again(self, stage: Stage) -> None:
        response, seen = (served := serve(stage, "flaky")).once()
        assert (response.status_code, seen) == (200, 2)
        row = served.stage.row(response)
        assert (row["attempts"], row["outcome"], row["billable"]) == (2, "ok", True)

    @pytest.mark.parametrize("tool", ["look", "write"])
    def test_a_tool_that_writes_or_says_nothing_of_repeating_is_not(self, stage: Stage, tool: str) -> None:
        response, seen = (served := serve(stage, "flaky")).once(tool)
        assert (response.status_code, seen) == (502, 1)
        assert served.stage.row(response)["attempts"] == 1

    @pytest.mark.parametrize("way", ["invoke", "all servers"])
    def test_it_is_tried_again_whichever_way_it_came(self, stage: Stage, way: str) -> None:
        served = serve(stage, "flaky")
        for tool, status, times in (("echo", 200, 2), ("look", 502, 1), ("write", 502, 1)):
            nonce = uuid4().hex
            response = served.by(way, tool, nonce=nonce)
            seen = [each for each in stage.upstream.requests if nonce.encode() in each.body]
            assert (response.status_code, len(seen)) == (status, times)
            assert served.stage.row(response)["attempts"] == times

    def test_a_kept_connection_that_the_server_was_just_closing_costs_no_call_that_may_be_repeated(
        self, stage: Stage
    ) -> None:
        served = serve(stage, "tired")
        (first, _), (second, seen) = served.once(), served.once()
        assert (first.status_code, second.status_code, seen) == (200, 200, 2)
        assert served.stage.row(second)["attempts"] == 2
        # The last attempt left a connection behind, so that this request is the second one of it.
        response, seen = served.once("write")
        assert (response.status_code, seen) == (502, 1)
        assert served.stage.row(response)["attempts"] == 1

    def test_a_fresh_connection_that_is_cut_is_no_accident(self, stage: Stage) -> None:
        response, seen = serve(stage, "reset").once()
        assert (response.status_code, seen) == (502, 1)

    def test_two_attempts_are_all(self, stage: Stage) -> None:
        response, seen = serve(stage, "unwell").once()
        assert (response.status_code, seen) == (502, 1)  # a plain 500 says nothing about coming back


class TestBreaker:
    def test_a_server_that_keeps_failing_is_left_alone_and_callers_are_told_at_once(self, stage: Stage) -> None:
        served = serve(stage, "unwell")
        for _ in range(5):
            assert served.call().status_code == 502
        response, seen = served.once()
        assert (response.status_code, seen) == (503, 0)
        assert 1 <= int(response.headers["retry-after"]) <= 6
        assert response.json()["error"]["data"]["code"] == "upstream.unavailable"
        row = served.stage.row(response)
        assert (row["outcome"], row["billable"], row["attempts"]) == ("upstream_error", False, 0)
        assert serve(stage, "ok").call().status_code == 200

    def test_errors_of_a_tool_and_of_the_request_never_close_a_server(self, stage: Stage) -> None:
        for behaviour in ("tool-error", "rpc-error", "unauthorized"):
            served = serve(stage, behaviour)
            for _ in range(7):
                assert served.call().status_code != 503

    def test_a_caller_in_a_hurry_does_not_close_a_server_to_others(self, stage: Stage) -> None:
        served = serve(stage, "hang")
        body = body_of("tools/call", {"name": "echo", "arguments": {}})
        hurried = {**served.stage.modern("tools/call", "echo"), "x-request-timeout": "0.1"}
        assert [served.post(body, hurried).status_code for _ in range(7)] == [504] * 7

    def test_a_caller_that_asks_for_too_much_does_not_close_it_either_and_is_told(self, stage: Stage) -> None:
        served = serve(stage, "huge")
        for _ in range(7):
            response = served.call()
            assert response.status_code == 502
            assert response.json()["error"]["data"]["code"] == "upstream.too_large"
        assert "10485760 bytes" in served.stage.row(response)["error"]


class TestAddresses:
    def test_calls_go_on_at_another_address_when_one_refuses_connections(self, stage: Stage) -> None:
        served = serve(stage, "ok", urls=("http://127.0.0.1:9/gone",))
        found = [served.call() for _ in range(12)]
        assert {each.status_code for each in found} == {200}
        assert max(served.stage.row(each)["attempts"] for each in found) == 2

    @pytest.mark.parametrize("way", ["invoke", "all servers"])
    def test_calls_of_every_way_go_on_at_another_address(self, stage: Stage, way: str) -> None:
        served = serve(stage, "ok", urls=("http://127.0.0.1:9/gone",))
        found = [served.by(way, "write") for _ in range(6)]
        assert {each.status_code for each in found} == {200}
        assert max(served.stage.row(each)["attempts"] for each in found) == 2

    def test_a_server_with_sessions_is_reached_at_another_address(self, stage: Stage, sdk_port: int) -> None:
        second = f"http://127.0.0.1:{sdk_port}/mcp"
        served = serve(stage, "ok", url="http://127.0.0.1:9/gone", urls=(second,), protocol="2025-11-25")
        found = [served.by("invoke", "echo", text="x") for _ in range(4)]
        assert {each.status_code for each in found} == {200}
        assert max(served.stage.row(each)["attempts"] for each in found) == 2

    def test_a_session_stays_at_the_address_where_it_began(self, stage: Stage, sdk_port: int) -> None:
        served = serve(
            stage, "ok", url=f"http://127.0.0.1:{sdk_port}/mcp", urls=(f"http://127.0.0.1:{sdk_port}/mcp?at=2",)
        )
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        for _ in range(4):
            begun = served.post(body_of("initialize", hello, modern=False), served.stage.headers())
            session = begun.headers["mcp-session-id"]
            for _ in range(3):
                headers = {"mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
                listed = served.post(body_of("tools/list", {}, modern=False), {**served.stage.headers(), **headers})
                assert listed.status_code == 200


class TestBulkheads:
    def test_beyond_the_slots_and_the_line_a_call_is_refused_while_others_go_on(self, stage: Stage) -> None:
        import concurrent.futures

        served = serve(stage, "hang")
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: served.call().status_code, range(6)))
        assert sorted(set(found)) == [503, 504]
        assert found.count(504) <= 3
        assert serve(stage, "ok").call().status_code == 200


class TestDeadlines:
    def test_a_caller_may_wait_for_less_and_the_server_is_told(self, stage: Stage) -> None:
        served = serve(stage, "hang")
        body = body_of("tools/call", {"name": "echo", "arguments": {}})
        headers = {**served.stage.modern("tools/call", "echo"), "x-request-timeout": "0.3"}
        response = served.post(body, headers)
        assert response.status_code == 504
        assert served.stage.row(response)["latency_ms"] < 1500
        told = stage.upstream.requests[-1].header("x-request-timeout")
        assert told is not None
        assert 0 < float(told) <= 0.3

    def test_a_wait_that_is_no_number_is_refused(self, stage: Stage) -> None:
        body = body_of("tools/call", {"name": "echo", "arguments": {}})
        served = serve(stage, "ok")
        response = served.post(body, {**served.stage.modern("tools/call", "echo"), "x-request-timeout": "soon"})
        assert response.status_code == 400

    def test_a_server_with_a_limit_of_its_own_is_given_no_more(self, stage: Stage) -> None:
        served = serve(stage, "hang", timeout_s=1)
        response = served.call()
        assert response.status_code == 504
        assert served.stage.row(response)["latency_ms"] < 1900
