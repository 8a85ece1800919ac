"""A stream lasts no longer than the right to it: whatever took the right away, who listens hears nothing more.

A stream that goes on says nothing for longer than these tests read, so they fail with a timeout where it does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from access.limits import LimitKind, LimitRule, LimitScope, Period
from access.types import SideEffect
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import make_call_tables

WITHIN_S = 5.0
SERVER = "stream-hangs"
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
NOTES = {"notifications": {"toolsListChanged": True}}


class Agent:
    """A key of a fresh organisation with a grant for one server."""

    def __init__(self, stage: Stage, *limits: LimitRule, server: str = SERVER) -> None:
        self.stage, self.world = stage, stage.world
        tenant = self.world.tenant(f"t{len(self.world.schemas)}", limits=limits)
        make_call_tables(stage.database_url, [tenant.schema_name])
        self.tenant_id: UUID = tenant.tenant_id
        self.token, self.key = self.world.key(tenant)
        self.world.grant(tenant, stage.servers[server], self.key)

    def post(self, path: str, method: str, params: dict[str, object] | None = None) -> httpx.Response:
        """A modern request."""
        headers = self.stage.modern(method) | {"authorization": f"Bearer {self.token}"}
        return httpx.post(self.stage.base + path, content=body_of(method, params), headers=headers, timeout=10)

    def session(self) -> dict[str, str]:
        """Headers of a session at the endpoint of all servers."""
        headers = self.stage.headers(self.token)
        hello = httpx.post(
            f"{self.stage.base}/mcp", content=body_of("initialize", HELLO, modern=False), headers=headers, timeout=10
        )
        return {**headers, "mcp-session-id": hello.headers["mcp-session-id"]}

    def change_key(self, **changes: object) -> None:
        keys = dict(self.world.loader.tenants[self.tenant_id].keys)
        keys[self.key.key_id] = replace(keys[self.key.key_id], **changes)
        self.world.change(self.tenant_id, keys=keys)


@contextlib.contextmanager
def listening(agent: Agent, how: str, notes: dict[str, object] = NOTES) -> Iterator[httpx.Response]:
    """One open stream of the agent."""
    base, timeout = agent.stage.base, httpx.Timeout(10, read=WITHIN_S)
    if how.startswith("GET"):
        headers = agent.session() if how == "GET /mcp" else agent.stage.headers(agent.token)
        opened = httpx.stream("GET", base + how.removeprefix("GET "), headers=headers, timeout=timeout)
    else:
        headers = agent.stage.modern("subscriptions/listen") | {"authorization": f"Bearer {agent.token}"}
        content = body_of("subscriptions/listen", notes)
        url = base + how.removeprefix("POST ")
        opened = httpx.stream("POST", url, content=content, headers=headers, timeout=timeout)
    with opened as response:
        yield response


STREAMS = [f"GET /mcp/{SERVER}", "GET /mcp", f"POST /mcp/{SERVER}", "POST /mcp"]


def revoke_key(agent: Agent) -> None:
    agent.world.change(agent.tenant_id, keys={})


def suspend(agent: Agent) -> None:
    agent.world.change(agent.tenant_id, suspended=True)


def expire(agent: Agent) -> None:
    agent.change_key(expires_at=datetime.now(UTC) - timedelta(seconds=1))


def take_scope(agent: Agent) -> None:
    agent.change_key(scopes=frozenset({"catalog"}))


def move_away(agent: Agent) -> None:
    agent.change_key(networks=frozenset({"10.0.0.0/8"}))


def revoke_grant(agent: Agent) -> None:
    agent.world.change(agent.tenant_id, grants={})


def bind_elsewhere(agent: Agent) -> None:
    agent.change_key(server_ids=frozenset({agent.stage.servers["ok"].server_id}))


OF_THE_CALLER = [revoke_key, suspend, expire, take_scope, move_away]
OF_THE_SERVER = [revoke_grant, bind_elsewhere]


@pytest.mark.parametrize("how", STREAMS)
@pytest.mark.parametrize("take_away", OF_THE_CALLER, ids=lambda act: act.__name__)
def test_a_stream_ends_with_the_right_of_its_caller(stage: Stage, how: str, take_away: Callable[[Agent], None]) -> None:
    agent = Agent(stage, server=SERVER if SERVER in how else "sdk")
    with listening(agent, how) as response:
        assert response.status_code == 200
        take_away(agent)
        response.read()


@pytest.mark.parametrize("how", [how for how in STREAMS if SERVER in how])
@pytest.mark.parametrize("take_away", OF_THE_SERVER, ids=lambda act: act.__name__)
def test_a_stream_ends_with_the_right_to_its_server(stage: Stage, how: str, take_away: Callable[[Agent], None]) -> None:
    agent = Agent(stage)
    with listening(agent, how) as response:
        assert response.status_code == 200
        take_away(agent)
        response.read()


def test_a_stream_ends_when_its_server_is_closed(stage: Stage) -> None:
    agent, server_id = Agent(stage), stage.servers[SERVER].server_id
    try:
        with listening(agent, STREAMS[0]) as response:
            assert response.status_code == 200
            stage.world.change_server(server_id, callable=False)
            response.read()
    finally:
        stage.world.change_server(server_id, callable=True)


def test_a_stream_goes_on_while_its_caller_changes_in_ways_that_do_not_matter(stage: Stage) -> None:
    agent = Agent(stage, server="sdk")
    with listening(agent, "POST /mcp") as response:
        assert response.status_code == 200
        agent.world.key(agent.world.loader.tenants[agent.tenant_id])
        with pytest.raises(httpx.ReadTimeout):
            response.read()


WATCHED = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["test://one"]}}


def take_reading(agent: Agent) -> None:
    """The grant stays, and with it the lists."""
    grants = agent.world.loader.tenants[agent.tenant_id].grants
    changed = {
        server_id: tuple(replace(rule, side_effects=frozenset({SideEffect.WRITE})) for rule in rules)
        for server_id, rules in grants.items()
    }
    agent.world.change(agent.tenant_id, grants=changed)


def test_who_may_not_read_a_resource_hears_nothing_of_it(stage: Stage) -> None:
    agent = Agent(stage)
    take_reading(agent)
    before = len(stage.upstream.requests)
    refused = agent.post(f"/mcp/{SERVER}", "subscriptions/listen", WATCHED)
    assert refused.json()["error"]["data"]["code"] == "access.side_effect_not_allowed"
    assert len(stage.upstream.requests) == before
    with listening(agent, f"POST /mcp/{SERVER}") as response:
        assert response.status_code == 200


def test_a_stream_about_a_resource_ends_with_the_right_to_read_it(stage: Stage) -> None:
    agent = Agent(stage)
    with listening(agent, f"POST /mcp/{SERVER}", WATCHED) as response:
        assert response.status_code == 200
        take_reading(agent)
        response.read()


def test_a_stream_about_lists_goes_on_without_the_right_to_read(stage: Stage) -> None:
    agent = Agent(stage)
    with listening(agent, f"POST /mcp/{SERVER}") as response:
        assert response.status_code == 200
        take_reading(agent)
        with pytest.raises(httpx.ReadTimeout):
            response.read()


@pytest.mark.parametrize("spelt", ["ResourceSubscriptions", "resourcesubscriptions", "TaskIds"])
def test_what_is_listened_to_has_one_spelling(stage: Stage, spelt: str) -> None:
    agent = Agent(stage)
    refused = agent.post(f"/mcp/{SERVER}", "subscriptions/listen", {"notifications": {spelt: ["test://one"]}})
    assert refused.json()["error"]["code"] == -32600


def rate(amount: int) -> LimitRule:
    return LimitRule("rate", "The rate", LimitScope.ORGANISATION, LimitKind.RATE, amount, Period.DAY)


def test_requests_to_all_servers_count_towards_the_rate(stage: Stage) -> None:
    agent = Agent(stage, rate(3), server="sdk")
    for method in ("tools/list", "server/discover", "resources/list"):
        assert agent.post("/mcp", method).status_code == 200
    for method in ("tools/list", "server/discover", "subscriptions/listen"):
        refused = agent.post("/mcp", method, NOTES if method == "subscriptions/listen" else None)
        assert (refused.status_code, refused.json()["error"]["data"]["code"]) == (429, "limits.rate")


def test_a_session_of_all_servers_cannot_go_round_the_rate(stage: Stage) -> None:
    agent = Agent(stage, rate(2), server="sdk")
    headers = agent.session()
    url = f"{stage.base}/mcp"
    cancelled = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}'
    assert httpx.post(url, content=cancelled, headers=headers, timeout=10).status_code == 202
    assert httpx.post(url, content=cancelled, headers=headers, timeout=10).status_code == 429
    assert httpx.get(url, headers=headers, timeout=10).status_code == 429
    assert httpx.delete(url, headers=headers, timeout=10).status_code == 429
