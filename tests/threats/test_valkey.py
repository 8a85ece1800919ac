"""Whoever can write to Valkey, which also carries queues and counters, cannot decide who may call what."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import redis

from gateway import codec, pushed
from gateway.mcp.errors import RefusedError
from gateway.peers.rounds import MAX_HELD_BY_OWNER, MAX_HELD_BY_TENANT, Holds
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import SESSION_KEY
from tests.support.processes import wait_until

FORGERIES = {
    "without a mark": lambda message: json.dumps(message).encode(),
    "with the mark of another": lambda message: pushed.mark(b"x" * 32, message),
    "with the mark of another message": lambda message: (
        pushed.mark(SESSION_KEY, {})[:32] + json.dumps(message).encode()
    ),
    "with half a mark": lambda message: pushed.mark(SESSION_KEY, message)[:16],
    "with nothing": lambda message: b"",
}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_push_gives_nobody_a_right(stage: Stage, urls: tuple[str, str], how: str) -> None:
    """globex would call acme's servers: the grant is pushed, but not by the control plane."""
    world = stage.world
    token, key = world.key(stage.globex)
    body = body_of("tools/call", {"name": "echo", "arguments": {}})
    server = stage.servers["ok"]
    assert stage_call(stage, token, body) == 403  # globex is held from here on
    held = world.loader.tenants[stage.globex.tenant_id]
    grants = world.loader.tenants[stage.acme.tenant_id].grants[server.server_id]
    forged = replace(
        held,
        revision=held.revision + 1000,
        grants={server.server_id: tuple(replace(grant, key=str(key.api_key_id)) for grant in grants)},
    )
    message = {"kind": "tenant", "revision": forged.revision, "body": codec.to_json(forged)}
    with redis.Redis.from_url(urls[1]) as client:
        wait_until(lambda: client.publish(pushed.CHANNEL, FORGERIES[how](message)) > 0, "a gateway that listens")
    for _ in range(5):
        assert stage_call(stage, token, body) == 403


def test_the_same_push_by_the_control_plane_is_taken(stage: Stage, urls: tuple[str, str]) -> None:
    token, key = stage.world.key(stage.globex)
    body = body_of("tools/call", {"name": "echo", "arguments": {}})
    assert stage_call(stage, token, body) == 403
    held = stage.world.loader.tenants[stage.globex.tenant_id]
    server = stage.servers["ok"]
    grants = stage.world.loader.tenants[stage.acme.tenant_id].grants[server.server_id]
    granted = replace(
        held, grants={server.server_id: tuple(replace(grant, key=str(key.api_key_id)) for grant in grants)}
    )
    message = {"kind": "tenant", "revision": granted.revision, "body": codec.to_json(granted)}
    with redis.Redis.from_url(urls[1]) as client:
        client.publish(pushed.CHANNEL, pushed.mark(SESSION_KEY, message))
    wait_until(lambda: stage_call(stage, token, body) == 200, "the push")


def stage_call(stage: Stage, token: str, body: bytes) -> int:
    import httpx

    headers = stage.modern("tools/call", "echo") | {"authorization": f"Bearer {token}"}
    return httpx.post(f"{stage.base}/mcp/ok", content=body, headers=headers, timeout=10).status_code


def test_many_keys_of_one_organisation_leave_places_for_calls_of_others_that_wait() -> None:
    holds: Holds[int] = Holds(lambda item: None)
    for number in range(MAX_HELD_BY_TENANT):
        holds.put(f"acme|key{number // MAX_HELD_BY_OWNER}|server|", number)
    with pytest.raises(RefusedError):
        holds.put("acme|another key|server|", 0)
    assert holds.put("globex|key|server|", 0)


def test_a_subscription_takes_little_room_in_valkey(stage: Stage, urls: tuple[str, str]) -> None:
    import httpx

    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    token, key = stage.world.key(stage.acme)
    stage.world.grant(stage.acme, stage.servers["sdk"], key)
    headers, url = stage.headers(token), f"{stage.base}/mcp"
    opened = httpx.post(url, content=body_of("initialize", hello, modern=False), headers=headers, timeout=10)
    headers["mcp-session-id"] = opened.headers["mcp-session-id"]
    for uri in ("mcp://sdk/" + "x" * 500_000, "mcp://sdk/" + "ü" * 4000):
        content = body_of("resources/subscribe", {"uri": uri}, modern=False)
        refused = httpx.post(url, content=content, headers=headers, timeout=10).json()
        assert refused["error"]["data"]["code"] in {"gateway.params_invalid", "access.method_unknown"}
    with redis.Redis.from_url(urls[1]) as client:
        assert all(len(key) < 1000 for key in client.scan_iter("gateway:v1:session:*"))
        for key in client.scan_iter("gateway:v1:session:*"):
            assert all(len(word) < 5000 for word in client.hgetall(key))
