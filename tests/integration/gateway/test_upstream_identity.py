"""As whom servers are called: captured requests, checked with another JWT library against the published keys."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import jwt
import pytest

from core import clock, signing, vault
from core.vault import Keychain, MasterKeys, Place
from gateway import pushed
from gateway.entries import CredentialEntry
from gateway.upstream.credentials import basic
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import SESSION_KEY, VAULT_KEY, config_for, running_gateway
from tests.support.upstreams import Received

CANARY = "canary-4f1d-secret-of-the-caller"


def published(stage: Stage) -> dict[str, jwt.PyJWK]:
    entry = stage.world.loader.signing_entry
    return {kid: jwt.PyJWK(signing.jwk(kid, public)) for kid, public in entry.public.items()}


def verify(stage: Stage, request: Received, server: str = "ok", header: str = "x-marketplace-token") -> dict:
    token = (request.header(header) or "").removeprefix("Bearer ")
    key = published(stage)[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(
        token,
        key,
        algorithms=["ES256"],
        audience=stage.upstream.url(server),
        issuer="http://localhost:8000",
        options={"require": ["exp", "iat", "aud", "iss", "sub", "jti"]},
    )


def give_credential(stage: Stage, server: str, name: str, value: str, **changes) -> CredentialEntry:
    """Store a credential of acme as the control plane does: sealed for its row."""
    masters, key_id, credential_id = MasterKeys([VAULT_KEY]), uuid4(), uuid4()
    tenant_id = str(stage.acme.tenant_id)
    wrapped = masters.wrap(vault.mint(), tenant_id, key_id)
    place = Place(tenant_id, "access.upstreamcredential", "secret", str(credential_id))
    sealed = Keychain(masters, tenant_id, {key_id: wrapped}).seal(
        key_id, place, json.dumps({"name": name, "value": value}).encode()
    )
    origin = changes.pop("origin", f"http://127.0.0.1:{stage.upstream.port}")
    entry = CredentialEntry(credential_id, changes.pop("kind", "header"), sealed, origin, **changes)
    held = stage.world.loader.tenants[stage.acme.tenant_id]
    server_id = stage.servers[server].server_id
    credentials = {**held.credentials, server_id: (*held.credentials.get(server_id, ()), entry)}
    stage.world.change(stage.acme.tenant_id, credentials=credentials, data_keys={**held.data_keys, key_id: wrapped})
    return entry


@pytest.fixture
def fresh(build_stage, urls, sdk_port):
    """A gateway of its own, so that what a test stores in entries is there from its first call on."""
    make, world, upstream = build_stage()
    before = dict(world.loader.tenants), dict(world.loader.servers)
    with running_gateway(config_for(*urls, upstream.port, sdk_port), world.loader) as base:
        yield make(base)
    world.loader.tenants, world.loader.servers = before


class TestToken:
    def test_says_who_calls_what_and_is_good_for_that_server_and_minute(self, fresh):
        answer = fresh.call("ok", "echo", text="hi")
        claims = verify(fresh, fresh.upstream.requests[-1])

        assert answer.status_code == 200
        assert claims["jti"] == answer.headers["x-marketplace-call-id"]
        assert (claims["method"], claims["tool"], claims["agent"]) == ("tools/call", "echo", "tester")
        assert claims["tenant"] == str(fresh.acme.tenant_id)
        assert claims["sub"] == f"user:{fresh.key.user_id}"
        assert claims["exp"] - claims["iat"] == 60
        assert fresh.row(answer)["upstream_auth"] == "jwt"

    def test_is_bound_to_the_bytes_of_the_request(self, fresh):
        fresh.call("ok", "echo", text="hi")
        request = fresh.upstream.requests[-1]
        digest = urlsafe_b64encode(hashlib.sha256(request.body).digest()).rstrip(b"=").decode()

        assert verify(fresh, request)["rqh"] == digest

    def test_is_refused_by_another_server(self, fresh):
        fresh.call("ok")

        with pytest.raises(jwt.InvalidAudienceError):
            verify(fresh, fresh.upstream.requests[-1], "tool-error")

    def test_each_call_has_one_of_its_own(self, fresh):
        fresh.call("ok")
        fresh.call("ok")
        first, second = (request.header("x-marketplace-token") for request in fresh.upstream.requests[-2:])

        assert first != second

    def test_goes_with_every_request_of_the_invoke_interface_too(self, fresh):
        fresh.upstream.requests.clear()
        fresh.invoke("handshake-only")

        assert len(fresh.upstream.requests) >= 4
        assert {verify(fresh, request, "handshake-only")["tenant"] for request in fresh.upstream.requests} == {
            str(fresh.acme.tenant_id)
        }

    def test_goes_in_the_authorization_header_where_the_provider_chose_so(self, fresh):
        fresh.world.change_server(fresh.servers["ok"].server_id, upstream_auth="marketplace_bearer")
        fresh.call("ok")
        request = fresh.upstream.requests[-1]

        assert verify(fresh, request, header="authorization")["aud"] == fresh.upstream.url("ok")
        assert request.header("x-marketplace-token") is None

    def test_is_left_out_where_the_provider_chose_so(self, fresh):
        fresh.world.change_server(fresh.servers["ok"].server_id, upstream_auth="none")
        answer = fresh.call("ok")

        assert fresh.upstream.requests[-1].header("x-marketplace-token") is None
        assert fresh.row(answer)["upstream_auth"] == "none"

    def test_a_tool_name_with_quotes_stays_one_claim(self, fresh):
        name = 'x","tenant":"someone'
        held = fresh.world.loader.servers[fresh.servers["ok"].server_id]
        from dataclasses import replace

        from access.types import SideEffect, ToolRule, Trust

        rule = ToolRule(name, Trust.LOW, SideEffect.READ)
        fresh.world.change_server(held.server_id, policy=replace(held.policy, tools={name: rule}))
        fresh.invoke("ok", name)
        claims = verify(fresh, fresh.upstream.requests[-1])

        assert claims["tool"] == name
        assert claims["tenant"] == str(fresh.acme.tenant_id)


class TestCallerCredential:
    @pytest.mark.parametrize("name", ["authorization", "x-api-key"])
    def test_never_reaches_the_server(self, stage, name):
        headers = stage.modern("tools/call", "echo", cookie=f"session={CANARY}", x_forwarded_for=CANARY)
        headers |= {"x-forwarded-host": "localhost", "x-marketplace-token": CANARY, "proxy-authorization": CANARY}
        del headers["authorization"]
        headers[name] = f"Bearer {stage.token}" if name == "authorization" else stage.token

        httpx.post(f"{stage.base}/mcp/ok", content=body_of("tools/call", {"name": "echo"}), headers=headers)

        received = stage.upstream.requests[-1].headers
        text = repr(received)
        assert stage.token not in text
        assert CANARY not in text
        assert not {"authorization", "cookie", "x-api-key", "proxy-authorization"} & {key for key, _ in received}
        assert not [key for key, _ in received if key.startswith("x-forwarded")]


class TestOwnCredential:
    def test_is_sent_as_the_server_expects_it_beside_the_token(self, fresh):
        give_credential(fresh, "ok", "X-Api-Key", "s3cret")
        answer = fresh.call("ok")
        request = fresh.upstream.requests[-1]

        assert request.header("x-api-key") == "s3cret"
        assert verify(fresh, request)
        assert fresh.row(answer)["upstream_auth"] == "jwt+header"

    def test_has_the_first_right_to_the_authorization_header(self, fresh):
        fresh.world.change_server(fresh.servers["ok"].server_id, upstream_auth="marketplace_bearer")
        give_credential(fresh, "ok", "Authorization", basic("u", "p"), kind="basic")
        fresh.call("ok")
        request = fresh.upstream.requests[-1]

        assert request.header("authorization") == "Basic dTpw"
        assert verify(fresh, request)

    def test_goes_to_no_other_server(self, fresh):
        give_credential(fresh, "ok", "Authorization", "Bearer s3cret", kind="bearer")
        fresh.call("tool-error")

        assert "s3cret" not in repr(fresh.upstream.requests[-1].headers)

    def test_does_not_follow_the_server_to_another_origin(self, fresh):
        give_credential(fresh, "ok", "Authorization", "Bearer s3cret", kind="bearer", origin="https://before.example")
        before = len(fresh.upstream.requests)

        assert fresh.invoke("ok").json()["code"] == "access.credential_missing"
        assert len(fresh.upstream.requests) == before

    def test_of_a_person_beats_the_organisation_s_and_goes_with_nobody_else(self, fresh):
        give_credential(fresh, "ok", "Authorization", "Bearer for-all", kind="bearer")
        give_credential(fresh, "ok", "Authorization", "Bearer someone-else", kind="oauth", user_id=uuid4())
        fresh.call("ok")
        assert fresh.upstream.requests[-1].header("authorization") == "Bearer for-all"

    def test_of_the_key_s_own_person_is_used(self, fresh):
        give_credential(fresh, "ok", "Authorization", "Bearer for-all", kind="bearer")
        give_credential(fresh, "ok", "Authorization", "Bearer mine", kind="oauth", user_id=fresh.key.user_id)
        fresh.call("ok")

        assert fresh.upstream.requests[-1].header("authorization") == "Bearer mine"

    def test_of_another_organisation_does_not_open(self, fresh):
        entry = give_credential(fresh, "ok", "Authorization", "Bearer s3cret", kind="bearer")
        acme = fresh.world.loader.tenants[fresh.acme.tenant_id]
        (globex_key,) = fresh.world.loader.tenants[fresh.globex.tenant_id].keys.values()
        fresh.world.grant(fresh.globex, fresh.servers["ok"], globex_key)
        fresh.world.change(
            fresh.globex.tenant_id,
            credentials={fresh.servers["ok"].server_id: (entry,)},
            data_keys=dict(acme.data_keys),
        )
        before = len(fresh.upstream.requests)

        answer = httpx.post(
            f"{fresh.base}/v1/invoke",
            json={"server": "ok", "tool": "echo"},
            headers={"authorization": f"Bearer {fresh.foreign_token}"},
        )

        assert answer.json()["code"] == "upstream.credential_unreadable"
        assert len(fresh.upstream.requests) == before

    def test_is_needed_where_the_server_says_so(self, fresh):
        fresh.world.change_server(fresh.servers["ok"].server_id, auth_mode="header")
        before = len(fresh.upstream.requests)
        answer = fresh.invoke("ok")

        assert (answer.status_code, answer.json()["code"]) == (403, "access.credential_missing")
        assert "/o/acme/connections/new/?server=ok" in answer.json()["next_step"]
        assert len(fresh.upstream.requests) == before

    def test_an_account_that_nobody_connected_is_refused_with_the_page_to_connect_it(self, fresh):
        fresh.world.change_server(fresh.servers["ok"].server_id, auth_mode="oauth")
        answer = fresh.call("ok")
        error = answer.json()["error"]

        assert error["data"]["code"] == "access.account_not_connected"
        assert "http://localhost:8000/o/acme/connections/new/?server=ok" in error["data"]["next_step"]
        assert fresh.row(answer)["reason"] == "account_not_connected"
        assert fresh.row(answer)["allowed"] is False

    def test_one_that_has_ended_is_not_sent_any_more(self, fresh):
        give_credential(fresh, "ok", "Authorization", "Bearer s3cret", kind="oauth", is_ended=True)

        assert fresh.invoke("ok").json()["code"] == "access.credential_missing"

    def test_an_expired_one_is_renewed_before_the_call(self, fresh):
        expired = clock.now() - timedelta(seconds=1)
        entry = give_credential(fresh, "ok", "Authorization", "Bearer stale", kind="oauth", expires_at=expired)
        loader = fresh.world.loader

        def renew(tenant_id, credential_id):
            assert credential_id == entry.credential_id
            fresh.world.change(tenant_id, credentials={})
            give_credential(fresh, "ok", "Authorization", "Bearer renewed", kind="oauth")

        loader.renew_credential = renew
        try:
            fresh.call("ok")
        finally:
            del loader.renew_credential

        assert fresh.upstream.requests[-1].header("authorization") == "Bearer renewed"

    def test_one_that_cannot_be_renewed_is_not_sent(self, fresh):
        expired = clock.now() - timedelta(seconds=1)
        give_credential(fresh, "ok", "Authorization", "Bearer stale", kind="oauth", expires_at=expired)
        before = len(fresh.upstream.requests)

        assert fresh.invoke("ok").json()["code"] == "upstream.credential_expired"
        assert len(fresh.upstream.requests) == before

    def test_one_that_the_server_rejects_is_reported_once(self, fresh):
        entry = give_credential(fresh, "unauthorized", "Authorization", "Bearer wrong", kind="bearer")
        answers = [fresh.invoke("unauthorized") for _ in range(3)]

        assert {answer.json()["code"] for answer in answers} == {"upstream.credential_rejected"}
        assert fresh.world.loader.rejected.count(entry.credential_id) == 1


class TestRotation:
    def test_calls_go_on_while_keys_change(self, fresh):
        """The old key stays published, as the control plane keeps it; no call is lost and each verifies."""
        loader, seen = fresh.world.loader, set()
        for _ in range(4):
            kid, private, public = signing.mint()
            loader.signing_entry = type(loader.signing_entry)(
                kid, private, {**loader.signing_entry.public, kid: public}
            )
            _announce(fresh)
            for _ in range(10):
                assert fresh.call("ok").status_code == 200
                request = fresh.upstream.requests[-1]
                verify(fresh, request)
                seen.add(jwt.get_unverified_header(request.header("x-marketplace-token"))["kid"])

        assert len(seen) > 1


def _announce(stage: Stage) -> None:
    """As the control plane tells it, and a moment for it to arrive."""
    import os
    import time

    import redis

    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.publish(pushed.CHANNEL, pushed.mark(SESSION_KEY, {"kind": "signing"}))
    kid = stage.world.loader.signing_entry.kid
    for _ in range(100):
        stage.call("ok")
        if jwt.get_unverified_header(stage.upstream.requests[-1].header("x-marketplace-token"))["kid"] == kid:
            return
        time.sleep(0.02)
    raise AssertionError("the gateway did not take the key")


class TestEveryRequest:
    def test_whoever_builds_a_request_to_a_server_asks_for_its_credentials(self):
        """The head of a request comes from one place, and each module that sends one asks who it is sent as."""
        builders = [
            path
            for path in Path("gateway").rglob("*.py")
            if re.search(r"\.exchange\(|first_reply\(", path.read_text())
            and path.name not in {"client.py", "attempts.py"}
        ]

        assert len(builders) > 3
        assert [str(path) for path in builders if "credentials.headers(" not in path.read_text()] == []
