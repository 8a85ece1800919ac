"""Who may call what: keys, visibility, grants, and how fast a change takes hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
import redis

from core import clock
from gateway import codec, pushed
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import SESSION_KEY
from tests.support.processes import wait_until

CALL = body_of("tools/call", {"name": "echo", "arguments": {}})


def post(stage: Stage, server: str, token: str | None, tool: str = "echo") -> httpx.Response:
    headers = stage.modern("tools/call", tool)
    headers.pop("authorization")
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    content = body_of("tools/call", {"name": tool, "arguments": {}})
    return httpx.post(f"{stage.base}/mcp/{server}", content=content, headers=headers, timeout=10)


def data_of(response: httpx.Response) -> dict:
    return response.json()["error"]["data"]


@pytest.mark.parametrize("token", [None, "nonsense", "mk_test_abc", "x" * 5000])
def test_without_a_usable_key_there_is_a_challenge_and_no_row(stage: Stage, token: str | None) -> None:
    rows = len(stage.rows())
    response = post(stage, "ok", token)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith('Bearer realm="mcp-marketplace", ')
    assert data_of(response)["code"] == "access.unauthenticated"
    assert "Authorization" in data_of(response)["next_step"]
    assert len(stage.rows()) == rows


def test_a_key_with_one_wrong_character_is_refused(stage: Stage) -> None:
    from core import keys

    text = keys.parse(stage.token)
    assert text is not None
    wrong = replace(text, secret="A" * 43 if text.secret[0] != "A" else "B" * 43)
    assert post(stage, "ok", str(wrong)).status_code == 401
    assert post(stage, "ok", str(replace(text, key_id="0" * 12))).status_code == 401
    assert post(stage, "ok", stage.token).status_code == 200


def test_x_api_key_works_and_must_agree_with_authorization(stage: Stage) -> None:
    headers = stage.modern("tools/call", "echo")
    del headers["authorization"]
    url = f"{stage.base}/mcp/ok"
    assert httpx.post(url, content=CALL, headers={**headers, "x-api-key": stage.token}).status_code == 200
    both = {**headers, "x-api-key": stage.token, "authorization": f"Bearer {stage.foreign_token}"}
    assert httpx.post(url, content=CALL, headers=both).status_code == 401


def test_an_expired_key_is_refused(stage: Stage) -> None:
    token, _ = stage.world.key(stage.acme, expires_at=clock.now() - timedelta(seconds=1))
    assert post(stage, "ok", token).status_code == 401


def test_a_key_of_another_organisation_has_no_grant_here(stage: Stage) -> None:
    response = post(stage, "ok", stage.foreign_token)
    assert response.status_code == 403
    assert data_of(response)["reason"] == "no_matching_grant"
    assert data_of(response)["next_step"]
    (row,) = stage.rows(stage.globex)
    assert (str(row["call_id"]), row["reason"]) == (data_of(response)["call_id"], "no_matching_grant")


def test_a_destructive_tool_is_refused_with_the_reason_and_the_next_step(stage: Stage) -> None:
    seen = len(stage.upstream.requests)
    response = post(stage, "ok", stage.token, "erase")
    assert response.status_code == 403
    error = response.json()["error"]
    assert error["code"] == 40300
    assert error["data"]["code"] == "access.side_effect_not_allowed"
    assert "destructive" in error["message"]
    assert error["data"]["grant_id"]
    row = stage.row(response)
    assert (row["allowed"], row["reason"], row["outcome"], row["price"]) == (
        False,
        "side_effect_not_allowed",
        "denied",
        0,
    )
    assert len(stage.upstream.requests) == seen


def test_an_unknown_tool_is_refused_by_name(stage: Stage) -> None:
    assert data_of(post(stage, "ok", stage.token, "no_such_tool"))["reason"] == "tool_unknown"


def test_a_hidden_server_looks_like_one_that_does_not_exist(stage: Stage) -> None:
    stage.world.server("globex-secret", stage.upstream.url("ok"), stage.globex, visibility="org")
    hidden, missing = post(stage, "globex-secret", stage.token), post(stage, "no-such-server", stage.token)
    for response in (hidden, missing):
        assert response.status_code == 404
        assert stage.row(response)["reason"] == "server_unknown"
        assert stage.row(response)["server_id"] is None
    strip = {"call_id": None}
    assert {**data_of(hidden), **strip} == {**data_of(missing), **strip}


def test_the_own_server_of_a_name_comes_before_a_public_one(stage: Stage) -> None:
    own = stage.world.server("shared-name", stage.upstream.url("ok"), stage.acme, visibility="org")
    stage.world.server("shared-name", stage.upstream.url("hang"), stage.globex)
    response = post(stage, "shared-name", stage.token)
    assert stage.row(response)["server_id"] == own.server_id


def test_a_team_server_is_visible_to_its_team_only(stage: Stage) -> None:
    team = uuid4()
    server = stage.world.server(
        "team-only", stage.upstream.url("ok"), stage.acme, visibility="tenant", owner_team_id=team
    )
    member, key = stage.world.key(stage.acme, team_id=team)
    stage.world.grant(stage.acme, server, key)
    assert post(stage, "team-only", member).status_code == 200
    assert post(stage, "team-only", stage.token).status_code == 404


def test_a_key_limited_to_other_servers_and_one_without_the_scope_are_refused(stage: Stage) -> None:
    limited, _ = stage.world.key(stage.acme, server_ids=frozenset({uuid4()}))
    assert data_of(post(stage, "ok", limited))["reason"] == "server_not_in_key"
    reader, _ = stage.world.key(stage.acme, scopes=frozenset({"catalog:read"}))
    assert data_of(post(stage, "ok", reader))["reason"] == "scope_missing"


def test_a_server_that_is_not_ready_says_so(stage: Stage) -> None:
    stage.world.server("draft", stage.upstream.url("ok"), stage.acme, callable=False)
    response = post(stage, "draft", stage.token)
    assert (response.status_code, data_of(response)["reason"]) == (503, "server_not_ready")


def test_lists_and_discovery_need_a_live_grant_too(stage: Stage) -> None:
    token, _ = stage.world.key(stage.acme)
    headers = {**stage.modern("tools/list"), "authorization": f"Bearer {token}"}
    response = httpx.post(f"{stage.base}/mcp/sdk", content=body_of("tools/list"), headers=headers)
    assert data_of(response)["reason"] == "no_matching_grant"


def test_notifications_need_a_live_grant_and_leave_no_row(stage: Stage) -> None:
    rows = len(stage.rows())
    content = b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}'
    allowed = httpx.post(f"{stage.base}/mcp/accepted", content=content, headers=stage.headers())
    assert allowed.status_code == 202
    refused = httpx.post(f"{stage.base}/mcp/accepted", content=content, headers=stage.headers(stage.foreign_token))
    assert refused.status_code == 403
    assert len(stage.rows()) == rows


def test_a_push_takes_hold_at_once_and_the_poll_without_it(stage: Stage, urls: tuple[str, str]) -> None:
    token, key = stage.world.key(stage.acme)
    server = stage.servers["ok"]
    rule = stage.world.grant(stage.acme, server, key)
    wait_until(lambda: post(stage, "ok", token).status_code == 200, "the grant to arrive")

    def with_grant(**changes: object) -> None:
        entry = stage.world.loader.tenants[stage.acme.tenant_id]
        others = tuple(g for g in entry.grants[server.server_id] if g.grant_id != rule.grant_id)
        changed = replace(rule, **changes)
        stage.world.change(entry.tenant_id, grants={**entry.grants, server.server_id: (*others, changed)})

    with_grant(revoked_at=clock.now())
    # No push: the gateway compares revisions by itself.
    wait_until(lambda: post(stage, "ok", token).status_code == 403, "the poll", deadline_s=5)
    assert data_of(post(stage, "ok", token))["reason"] == "grant_revoked"
    with_grant()
    entry = stage.world.loader.tenants[stage.acme.tenant_id]
    publish(urls[1], "tenant", codec.to_json(entry), entry.revision)
    wait_until(lambda: post(stage, "ok", token).status_code == 200, "the push", deadline_s=5)


def test_an_older_push_never_replaces_a_newer_entry(stage: Stage, urls: tuple[str, str]) -> None:
    server = stage.world.server("versioned", stage.upstream.url("ok"), stage.acme, revision=7)
    stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: post(stage, "versioned", stage.token).status_code == 200, "the server")
    publish(urls[1], "server", codec.to_json(replace(server, revision=6, callable=False)), 6)
    publish(urls[1], "server", {"not": "an entry"}, 8)
    marker = stage.world.server("marker", stage.upstream.url("ok"), stage.acme)
    stage.world.grant(stage.acme, marker, stage.key)
    wait_until(lambda: post(stage, "marker", stage.token).status_code == 200, "a later change")
    assert post(stage, "versioned", stage.token).status_code == 200


def test_a_server_that_is_gone_is_unknown_at_once(stage: Stage, urls: tuple[str, str]) -> None:
    server = stage.world.server("short-lived", stage.upstream.url("ok"), stage.acme)
    stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: post(stage, "short-lived", stage.token).status_code == 200, "the server")
    del stage.world.loader.servers[server.server_id]
    wait_until(lambda: post(stage, "short-lived", stage.token).status_code == 404, "its end", deadline_s=5)


def test_the_last_use_of_a_key_is_told(stage: Stage) -> None:
    token, key = stage.world.key(stage.acme)
    post(stage, "ok", token)
    wait_until(lambda: key.api_key_id in stage.world.loader.touched, "the touch", deadline_s=10)


def publish(redis_url: str, kind: str, body: dict, revision: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        message = pushed.mark(SESSION_KEY, {"kind": kind, "revision": revision, "body": body})
        client.publish(pushed.CHANNEL, message)
