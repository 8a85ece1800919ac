"""What the gateway remembers of a tool's calls never outlives what it was found from, and changes nothing that is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from access.types import Trust
from core import clock
from gateway.entries import Price, ServerEntry
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import config_for, make_call_tables, running_gateway
from tests.support.processes import wait_until

# Of a row, what each call has for itself.
OWN = {"call_id", "occurred_at", "latency_ms", "upstream_ms", "timings", "trace_id"}


@pytest.fixture(scope="module")
def served(build_stage: Callable[..., Any], urls: tuple[str, str], sdk_port: int) -> Iterator[Stage]:
    make, world, upstream = build_stage()
    with running_gateway(config_for(*urls, upstream.port, sdk_port), world.loader) as base:
        yield make(base)


@pytest.fixture
def stage(served: Stage) -> Stage:
    """A fresh organisation with a key and a fresh server, and no grant."""
    world = served.world
    tenant = world.tenant(f"t{uuid4().hex[:8]}")
    make_call_tables(served.database_url, [tenant.schema_name])
    token, key = world.key(tenant)
    server = world.server(f"s{uuid4().hex[:8]}", served.upstream.url("ok"), served.globex, price=_price("0.02"))
    return replace(served, acme=world.loader.tenants[tenant.tenant_id], token=token, key=key, servers={"it": server})


def _price(rate: str) -> Price:
    return Price(uuid4(), Decimal(rate), "USD")


def _server(stage: Stage) -> ServerEntry:
    return stage.servers["it"]


def _call(stage: Stage, tool: str = "echo") -> httpx.Response:
    return stage.call(_server(stage).slug, tool)


def _reason(response: httpx.Response) -> str:
    return str(response.json()["error"]["data"]["reason"])


def _grant(stage: Stage, **changes: Any) -> None:
    stage.world.grant(stage.acme, _server(stage), stage.key, **changes)


def test_the_row_of_a_call_on_a_known_way_says_what_the_first_one_says(stage: Stage) -> None:
    _grant(stage)
    first, *later = [stage.row(_call(stage)) for _ in range(4)]
    wanted = {name: value for name, value in first.items() if name not in OWN}
    assert wanted["price"] == Decimal("0.02")
    for row in later:
        assert {name: value for name, value in row.items() if name not in OWN} == wanted
    assert len({row["call_id"] for row in (first, *later)}) == 4


def test_an_invocation_and_a_call_of_the_same_tool_share_no_row(stage: Stage) -> None:
    _grant(stage)
    for _ in range(2):
        assert stage.row(_call(stage))["interface"] == "mcp"
        assert stage.invoke(_server(stage).slug).status_code == 200
    assert sorted(row["interface"] for row in stage.rows()) == ["invoke", "invoke", "mcp", "mcp"]


def test_a_foreign_session_is_no_allowed_call_on_a_way_that_is_known(stage: Stage) -> None:
    _grant(stage)
    assert _call(stage).status_code == 200
    content = body_of("tools/call", {"name": "echo", "arguments": {}}, modern=False)
    headers = stage.headers(mcp_protocol_version="2025-11-25", mcp_session_id="somebody.elses")
    refused = httpx.post(f"{stage.base}/mcp/{_server(stage).slug}", content=content, headers=headers, timeout=10)
    assert refused.json()["error"]["data"]["code"] == "gateway.session_unknown"
    row = stage.row(refused)
    assert (row["outcome"], row["allowed"], row["reason"]) == ("denied", False, "")


def test_a_new_price_is_what_the_next_call_costs(stage: Stage) -> None:
    _grant(stage)
    assert stage.row(_call(stage))["price"] == Decimal("0.02")
    after = stage.world.change_server(_server(stage).server_id, price=_price("0.05"))
    assert after.price is not None
    wait_until(
        lambda: stage.row(_call(stage))["price_version_id"] == after.price.price_version_id, "the price to be taken"
    )
    assert stage.row(_call(stage))["price"] == Decimal("0.05")


def test_a_grant_ends_at_its_moment_on_a_way_that_is_known(stage: Stage) -> None:
    _grant(stage, expires_at=clock.now() + timedelta(seconds=1.5))
    assert _call(stage).status_code == 200
    assert _call(stage).status_code == 200
    wait_until(lambda: _call(stage).status_code != 200, "the grant to end")
    assert _reason(_call(stage)) != ""
    assert [row["allowed"] for row in stage.rows()][-1] is False


def test_a_grant_that_is_taken_away_closes_the_way(stage: Stage) -> None:
    _grant(stage)
    assert _call(stage).status_code == 200
    stage.world.change(stage.acme.tenant_id, grants={})
    wait_until(lambda: _call(stage).status_code != 200, "the grant to be gone")
    assert _reason(_call(stage)) == "no_matching_grant"


def test_a_tool_that_asks_for_more_trust_is_decided_again(stage: Stage) -> None:
    _grant(stage, max_trust=Trust.LOW)
    assert _call(stage).status_code == 200
    server = _server(stage)
    tools = {**server.policy.tools, "echo": replace(server.policy.tools["echo"], required_trust=Trust.HIGH)}
    stage.world.change_server(server.server_id, policy=replace(server.policy, tools=tools))
    wait_until(lambda: _call(stage).status_code != 200, "the policy to be taken")
    assert _call(stage, "add").status_code == 200


def test_another_server_of_the_organisations_own_takes_the_name(stage: Stage) -> None:
    _grant(stage)
    assert stage.row(_call(stage))["server_id"] == _server(stage).server_id
    own = stage.world.server(_server(stage).slug, stage.upstream.url("ok"), stage.acme, visibility="org")
    stage.world.grant(stage.acme, own, stage.key)
    wait_until(
        lambda: stage.row(_call(stage))["server_id"] == own.server_id, "the own server to be found", deadline_s=40
    )
