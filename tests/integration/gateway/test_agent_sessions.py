"""Sessions of agents, and conditions of grants, at a running gateway: what holds for one request holds for no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
import redis

from access.types import Conditions, Hours, SessionRule, SessionTerms, SideEffect, Trust
from core import clock
from gateway import pushed
from tests.integration.gateway.conftest import Stage, body_of
from tests.integration.gateway.test_tokens import Minted
from tests.integration.gateway.test_upstream_identity import give_credential
from tests.support.gateways import SESSION_KEY, config_for, make_call_tables, running_gateway
from tests.support.processes import wait_until

EVERYTHING = frozenset(SideEffect)


@pytest.fixture(scope="module")
def served(build_stage: Callable[..., Any], urls: tuple[str, str], sdk_port: int) -> Iterator[Stage]:
    make, world, upstream = build_stage()
    config = replace(config_for(*urls, upstream.port, sdk_port), trusted_proxies=1)
    with running_gateway(config, world.loader) as base:
        yield make(base)


@pytest.fixture
def stage(served: Stage) -> Stage:
    """A fresh organisation with a key, and a fresh server of another one."""
    world = served.world
    tenant = world.tenant(f"t{uuid4().hex[:8]}")
    make_call_tables(served.database_url, [tenant.schema_name])
    token, key = world.key(tenant, agent="bot")
    server = world.server(f"s{uuid4().hex[:8]}", served.upstream.url("ok"), served.globex)
    return replace(served, acme=world.loader.tenants[tenant.tenant_id], token=token, key=key, servers={"it": server})


def call(stage: Stage, tool: str = "echo", arguments: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{stage.base}/mcp/{stage.servers['it'].slug}",
        content=body_of("tools/call", {"name": tool, "arguments": arguments or {}}),
        headers=stage.modern("tools/call", tool, **headers),
        timeout=10,
    )


def reason(response: httpx.Response) -> str:
    return "allowed" if response.status_code == 200 else str(response.json()["error"]["data"]["reason"])


def policy(stage: Stage, **terms: Any) -> None:
    entry = stage.servers["it"]
    changed = replace(entry.policy, session=SessionTerms(**terms))
    stage.servers["it"] = stage.world.change_server(entry.server_id, policy=changed)


def grant(stage: Stage, **changes: Any) -> None:
    stage.world.grant(stage.acme, stage.servers["it"], stage.key, **({"side_effects": EVERYTHING} | changes))


def session(stage: Stage, name: str = "morning", **changes: Any) -> SessionRule:
    return stage.world.session(stage.acme, stage.servers["it"], name, **({"agent": "bot"} | changes))


def becomes(ask: Callable[[], httpx.Response], wanted: str) -> httpx.Response:
    """The first answer with the reason, once the gateway has taken the change."""
    found: list[httpx.Response] = []

    def is_there() -> bool:
        found[:] = [ask()]
        return reason(found[0]) == wanted

    wait_until(is_there, f"the reason {wanted}")
    return found[0]


class TestSessions:
    def test_consent_bounds_what_the_grants_give_for_the_calls_that_name_it(self, stage: Stage) -> None:
        grant(stage)
        rule = replace(session(stage), consented_trust=Trust.MEDIUM)
        stage.world.change(stage.acme.tenant_id, sessions={rule.server_id: (rule,)})

        assert reason(call(stage, "erase")) == "allowed"
        refused = call(stage, "erase", x_mcp_agent_session="morning")
        assert reason(refused) == "trust_too_low"
        row = stage.row(refused)
        assert (row["trust_admin"], row["trust_consented"], row["trust_effective"]) == ("high", "medium", "medium")
        assert (row["agent_session_id"], row["risk"], row["policy_version"]) == (rule.session_id, "high", "v1")
        within = call(stage, x_mcp_agent_session="morning")
        assert stage.row(within)["agent_session_id"] == rule.session_id
        # And the decisions of the one are not those of the other, in whichever order they came.
        for _ in range(3):
            assert reason(call(stage, "erase")) == "allowed"
            assert reason(call(stage, "erase", x_mcp_agent_session="morning")) == "trust_too_low"

    def test_where_one_is_required_nothing_goes_without_it(self, stage: Stage) -> None:
        grant(stage)
        policy(stage, required=True)
        session(stage)

        assert reason(call(stage)) == "missing_session"
        assert reason(call(stage, x_mcp_agent_session="evening")) == "session_not_found"
        assert reason(call(stage, x_mcp_agent_session="morning")) == "allowed"

    def test_a_session_of_another_caller_is_none(self, stage: Stage) -> None:
        grant(stage)
        session(stage, agent="other")

        assert reason(call(stage, x_mcp_agent_session="morning")) == "session_not_found"

    def test_a_revoked_one_ends_at_once_on_a_way_that_was_known(self, stage: Stage) -> None:
        grant(stage)
        rule = session(stage)
        for _ in range(3):
            assert reason(call(stage, x_mcp_agent_session="morning")) == "allowed"
        gone = replace(rule, revoked_at=clock.now())
        stage.world.change(stage.acme.tenant_id, sessions={rule.server_id: (gone,)})

        becomes(lambda: call(stage, x_mcp_agent_session="morning"), "session_revoked")
        assert reason(call(stage)) == "allowed"

    def test_one_that_was_taken_back_ends_before_the_entry_says_so(self, stage: Stage, urls: tuple[str, str]) -> None:
        grant(stage)
        rule = session(stage)
        assert reason(call(stage, x_mcp_agent_session="morning")) == "allowed"
        revision = stage.world.loader.tenants[stage.acme.tenant_id].revision
        told = {"kind": "ended", "tenant_id": str(stage.acme.tenant_id), "revision": revision + 1}
        with redis.Redis.from_url(urls[1]) as client:
            client.publish(pushed.CHANNEL, pushed.mark(b"another key", told | {"ids": [str(rule.session_id)]}))
            assert reason(call(stage, x_mcp_agent_session="morning")) == "allowed"
            client.publish(pushed.CHANNEL, pushed.mark(SESSION_KEY, told | {"ids": [str(rule.session_id)]}))

        becomes(lambda: call(stage, x_mcp_agent_session="morning"), "session_revoked")
        assert reason(call(stage)) == "allowed"

    def test_it_ends_at_the_moment_of_its_expiry_with_no_change_of_any_entry(self, stage: Stage) -> None:
        grant(stage)
        session(stage, expires_at=clock.now() + timedelta(seconds=2))

        assert reason(call(stage, x_mcp_agent_session="morning")) == "allowed"
        becomes(lambda: call(stage, x_mcp_agent_session="morning"), "session_expired")

    def test_the_server_names_the_header(self, stage: Stage) -> None:
        grant(stage)
        policy(stage, required=True, header="X-Our-Session")
        session(stage)

        assert reason(call(stage, x_our_session="morning")) == "allowed"
        assert reason(call(stage, x_mcp_agent_session="morning")) == "missing_session"

    def test_an_idle_one_ends_and_a_use_elsewhere_keeps_it(self, stage: Stage) -> None:
        grant(stage)
        hours_ago = clock.now() - timedelta(hours=2)
        rule = replace(session(stage), issued_at=hours_ago)
        stage.world.change(stage.acme.tenant_id, sessions={rule.server_id: (rule,)})

        assert reason(call(stage, x_mcp_agent_session="morning")) == "session_expired"
        stage.world.loader.session_uses[rule.session_id] = clock.now()
        assert reason(call(stage, x_mcp_agent_session="morning")) == "allowed"
        assert reason(call(stage, x_mcp_agent_session="morning")) == "allowed"

    def test_its_use_is_told_without_a_write_for_each_call(self, stage: Stage) -> None:
        grant(stage)
        rule = session(stage)
        asked = stage.world.loader.session_uses
        for _ in range(3):
            call(stage, x_mcp_agent_session="morning")

        wait_until(lambda: rule.session_id in asked, "the use of the session", deadline_s=30)

    def test_two_headers_of_that_name_are_refused(self, stage: Stage) -> None:
        grant(stage)
        headers = [*stage.modern("tools/call", "echo").items(), *[("x-mcp-agent-session", "morning")] * 2]
        content = body_of("tools/call", {"name": "echo", "arguments": {}})
        url = f"{stage.base}/mcp/{stage.servers['it'].slug}"

        assert httpx.post(url, content=content, headers=headers).status_code == 400

    def test_it_may_bring_a_credential_of_its_own_and_nothing_in_its_place(self, stage: Stage) -> None:
        grant(stage)
        give_credential(stage, "it", "Authorization", "Bearer for-all", kind="bearer")
        own = give_credential(stage, "it", "Authorization", "Bearer of-the-session", kind="bearer")
        session(stage, credential_id=own.credential_id)
        session(stage, "evening", credential_id=uuid4())
        shown = stage.upstream.requests

        assert reason(call(stage)) == "allowed"
        assert shown[-1].header("authorization") == "Bearer for-all"
        assert reason(call(stage, x_mcp_agent_session="morning")) == "allowed"
        assert shown[-1].header("authorization") == "Bearer of-the-session"
        before = len(shown)
        assert reason(call(stage, x_mcp_agent_session="evening")) == "credential_missing"
        assert len(shown) == before


class TestConditions:
    def test_an_address_range_counts_for_each_request(self, stage: Stage) -> None:
        grant(stage, conditions=Conditions(networks=frozenset({"203.0.113.0/24"})))

        for _ in range(2):
            assert reason(call(stage, x_forwarded_for="203.0.113.7")) == "allowed"
            assert reason(call(stage, x_forwarded_for="198.51.100.7")) == "condition_not_met"
            assert reason(call(stage)) == "condition_not_met"

    def test_a_token_of_ours_says_where_its_person_is_whoever_sends_it(self, stage: Stage) -> None:
        grant(stage, conditions=Conditions(networks=frozenset({"203.0.113.0/24"})))
        minted = Minted(stage)

        for _ in range(2):
            for address, wanted in (("203.0.113.7", "allowed"), ("198.51.100.7", "condition_not_met")):
                token = minted.token(address=address)
                # The platform's own address counts for nothing then, within the range or not.
                for sender in ("203.0.113.9", "198.51.100.9"):
                    answer = call(stage, authorization=f"Bearer {token}", x_forwarded_for=sender)
                    assert reason(answer) == wanted

    def test_arguments_count_for_each_request(self, stage: Stage) -> None:
        schema = {"properties": {"amount": {"maximum": 100}}, "required": ["amount"]}
        grant(stage, conditions=Conditions(arguments={"echo": schema}))

        for _ in range(2):
            assert reason(call(stage, arguments={"amount": 100})) == "allowed"
            assert reason(call(stage, arguments={"amount": 101})) == "arguments_not_allowed"
            assert reason(call(stage)) == "arguments_not_allowed"
        slug = stage.servers["it"].slug
        assert stage.invoke(slug, amount=7).status_code == 200
        assert stage.invoke(slug, amount=700).status_code == 403

    def test_hours_of_other_days_open_nothing(self, stage: Stage) -> None:
        days = frozenset({(clock.now().weekday() + 3) % 7})
        grant(stage, conditions=Conditions(hours=(Hours(days, 0, 24 * 60),)))

        assert reason(call(stage)) == "condition_not_met"

    def test_an_environment_is_the_keys(self, stage: Stage) -> None:
        grant(stage, key="", agent="bot", conditions=Conditions(environments=frozenset({"production"})))
        token, _ = stage.world.key(stage.acme, agent="bot", environment="production")

        assert reason(call(replace(stage, token=token))) == "allowed"
        assert reason(call(stage)) == "condition_not_met"


def test_a_refusal_carries_the_way_to_ask(stage: Stage) -> None:
    grant(stage, max_trust=Trust.LOW)
    way = urlsplit(call(stage, "erase").json()["error"]["data"]["request_url"])

    assert way.path == f"/o/{stage.acme.slug}/access/request/"
    assert parse_qs(way.query) == {
        "server": [stage.servers["it"].slug],
        "tool": ["erase"],
        "trust": ["high"],
        "effect": ["destructive"],
        "agent": ["bot"],
    }
    assert "request_url" not in call(stage, "no_such_tool").json()["error"]["data"]
