"""Ways around the decision that a key holder, or who has lost their access, might try."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest

from access.types import PolicyMode, ServerPolicy, Trust
from core import clock
from gateway.entries import KeyEntry, TenantEntry
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.processes import wait_until


@pytest.mark.parametrize("method", ["tools/call", "resources/read", "initialize", "anything"])
def test_a_request_without_an_id_reaches_no_server(stage: Stage, method: str) -> None:
    seen = len(stage.upstream.requests)
    message = {"jsonrpc": "2.0", "method": method, "params": {"name": "erase", "arguments": {}}}
    for headers in (stage.headers(), stage.modern(method)):
        response = httpx.post(f"{stage.base}/mcp/ok", content=json.dumps(message), headers=headers)
        assert (response.status_code, response.json()["error"]["data"]["code"]) == (400, "gateway.request_invalid")
    assert len(stage.upstream.requests) == seen


def test_a_provider_cannot_switch_off_the_access_rules_of_others(stage: Stage) -> None:
    url, tools = stage.upstream.url("ok"), stage.servers["ok"].policy.tools
    policy = ServerPolicy(uuid4(), PolicyMode.OBSERVE, Trust.LOW, tools)
    stage.world.server("watched", url, stage.globex, policy=policy)
    stage.world.server("watched-own", url, stage.acme, policy=policy)
    answers = {}
    for name in ("watched", "watched-own"):
        for tool in ("echo", "erase"):
            answers[name, tool] = stage.row(stage.call(name, tool))
    assert {row["reason"] for (name, _), row in answers.items() if name == "watched"} == {"no_matching_grant"}
    assert {row["reason"] for (name, _), row in answers.items() if name == "watched-own"} == {"observed"}


class HalfSent:
    """A call whose headers and first bytes have arrived, and whose rest is held back."""

    def __init__(self, stage: Stage, token: str) -> None:
        self._body = body_of("tools/call", {"name": "echo", "arguments": {}})
        host, _, port = stage.base.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        headers = stage.modern("tools/call", "echo") | {
            "authorization": f"Bearer {token}",
            "host": f"{host}:{port}",
            "connection": "close",
        }
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(["POST /mcp/ok HTTP/1.1", *lines, f"content-length: {len(self._body)}", "", ""])
        self._socket.sendall(head.encode() + self._body[:10])

    def finish(self) -> bytes:
        with self._socket:
            self._socket.sendall(self._body[10:])
            return b"".join(iter(lambda: self._socket.recv(65536), b""))


def _key_with_grant(stage: Stage) -> tuple[str, KeyEntry]:
    token, key = stage.world.key(stage.acme)
    stage.world.grant(stage.acme, stage.servers["ok"], key)
    wait_until(lambda: _call(stage, token) == 200, "the grant to arrive")
    return token, key


def _call(stage: Stage, token: str) -> int:
    headers = stage.modern("tools/call", "echo") | {"authorization": f"Bearer {token}"}
    content = body_of("tools/call", {"name": "echo", "arguments": {}})
    return httpx.post(f"{stage.base}/mcp/ok", content=content, headers=headers).status_code


def _acme(stage: Stage) -> TenantEntry:
    return stage.world.loader.tenants[stage.acme.tenant_id]


def test_a_body_that_is_held_back_does_not_outlive_its_grant(stage: Stage) -> None:
    token, key = _key_with_grant(stage)
    held = HalfSent(stage, token)
    rules = _acme(stage).grants[stage.servers["ok"].server_id]
    ended = tuple(replace(rule, revoked_at=clock.now()) if rule.key == str(key.api_key_id) else rule for rule in rules)
    stage.world.change(stage.acme.tenant_id, grants={**_acme(stage).grants, stage.servers["ok"].server_id: ended})
    wait_until(lambda: _call(stage, token) == 403, "the revocation", deadline_s=5)
    assert b"access.grant_revoked" in held.finish()


def test_a_body_that_is_held_back_does_not_outlive_its_key(stage: Stage) -> None:
    token, key = _key_with_grant(stage)
    held = HalfSent(stage, token)
    others = {key_id: entry for key_id, entry in _acme(stage).keys.items() if key_id != key.key_id}
    stage.world.change(stage.acme.tenant_id, keys=others)
    wait_until(lambda: _call(stage, token) == 401, "the revocation", deadline_s=5)
    assert b"access.unauthenticated" in held.finish()
