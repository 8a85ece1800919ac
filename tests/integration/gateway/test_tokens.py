"""Access tokens at the gateway: who gets one, what it is good for, and forty that are none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from core import clock, signing, tokens
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import config_for, running_gateway
from tests.support.processes import wait_until

URL = "http://localhost:8000"
CALL = body_of("tools/call", {"name": "echo", "arguments": {}})


@dataclass
class Minted:
    """A good token of acme's key, in parts that a forger may change."""

    stage: Stage

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": URL,
            "sub": str(self.stage.key.user_id),
            "tenant": str(self.stage.acme.tenant_id),
            "key": self.stage.key.key_id,
            "aud": URL,
            "scope": "invoke",
            "iat": now,
            "exp": now + 300,
            "jti": str(uuid4()),
        }
        claims |= changes
        return {name: value for name, value in claims.items() if value is not None}

    @property
    def signer(self) -> signing.Signer:
        entry = self.stage.world.loader.signing_entry
        return signing.Signer(entry.kid, entry.private)

    def right(self, text: bytes) -> bytes:
        key = load_der_private_key(self.stage.world.loader.signing_entry.private, None)
        return jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(text, key)

    @property
    def public_pem(self) -> bytes:
        (public,) = self.stage.world.loader.signing_entry.public.values()
        return signing.load_public(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def token(self, **changes: Any) -> str:
        return tokens.sign(self.claims(**changes), self.signer)

    def raw(
        self, header: dict[str, Any] | None = None, sign: Callable[[bytes], bytes] | None = None, **changes: Any
    ) -> str:
        """With a header of any kind, signed by anything."""
        head = {"alg": "ES256", "typ": "at+jwt", "kid": self.signer.kid} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(self.claims(**changes)).encode())
        return f"{text}.{b64((sign or self.right)(text.encode()))}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def with_hmac(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


STRANGER = ec.generate_private_key(ec.SECP256R1())
STRANGER_KID, _, STRANGER_PUBLIC = signing.mint()
STRANGER_JWK = signing.jwk(STRANGER_KID, STRANGER_PUBLIC)


def by_stranger(text: bytes) -> bytes:
    return jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(text, STRANGER)


def by_rsa(text: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256())


NOW = int(time.time())
FORGED: dict[str, Callable[[Minted], str]] = {
    "no algorithm": lambda m: m.raw({"alg": "none"}, lambda _: b""),
    "no algorithm in capitals": lambda m: m.raw({"alg": "NONE"}, lambda _: b""),
    "no algorithm but a signature": lambda m: m.raw({"alg": "none"}),
    "no signature": lambda m: m.raw(sign=lambda _: b""),
    "the public key as an HMAC secret": lambda m: m.raw({"alg": "HS256"}, with_hmac(m.public_pem)),
    "an empty HMAC secret": lambda m: m.raw({"alg": "HS256"}, with_hmac(b"")),
    "an HMAC under the name of our algorithm": lambda m: m.raw(sign=with_hmac(m.public_pem)),
    "RSA": lambda m: m.raw({"alg": "RS256"}, by_rsa),
    "RSA-PSS": lambda m: m.raw({"alg": "PS256"}, by_rsa),
    "a larger curve by name": lambda m: m.raw({"alg": "ES384"}),
    "another kind of key by name": lambda m: m.raw({"alg": "EdDSA"}, ed25519.Ed25519PrivateKey.generate().sign),
    "a stranger's key": lambda m: m.raw(sign=by_stranger),
    "a stranger's key in the header": lambda m: m.raw({"jwk": STRANGER_JWK}, by_stranger),
    "a stranger's key under its own id": lambda m: m.raw({"kid": STRANGER_KID}, by_stranger),
    "the address of a key": lambda m: m.raw({"jku": "https://evil.example/jwks"}, by_stranger),
    "the address of a certificate": lambda m: m.raw({"x5u": "https://evil.example/cert"}, by_stranger),
    "a certificate": lambda m: m.raw({"x5c": ["MIIB"]}, by_stranger),
    "a critical extension": lambda m: m.raw({"crit": ["exp"], "exp": NOW + 300}),
    "an unencoded payload": lambda m: m.raw({"b64": False, "crit": ["b64"]}),
    "compression": lambda m: m.raw({"zip": "DEF"}),
    "a harmless word too many in the header": lambda m: m.raw({"cty": "JWT"}),
    "no key id": lambda m: m.raw({"kid": None}),
    "a path as key id": lambda m: m.raw({"kid": "../../../dev/null"}, with_hmac(b"")),
    "SQL as key id": lambda m: m.raw({"kid": "x' UNION SELECT 'secret"}, with_hmac(b"secret")),
    "a number as key id": lambda m: m.raw({"kid": 1}),
    "the type of an identity token": lambda m: m.raw({"typ": "JWT"}),
    "no type": lambda m: m.raw({"typ": None}),
    "another issuer": lambda m: m.token(iss="https://evil.example"),
    "our issuer with a slash": lambda m: m.token(iss=URL + "/"),
    "no issuer": lambda m: m.token(iss=None),
    "another audience": lambda m: m.token(aud="https://evil.example/mcp/ok"),
    "an audience that only begins like ours": lambda m: m.token(aud=URL + ".evil.example/mcp/ok"),
    "an audience on another port": lambda m: m.token(aud="http://localhost:80001/mcp"),
    "another server": lambda m: m.token(aud=f"{URL}/mcp/other"),
    "a server whose name begins alike": lambda m: m.token(aud=f"{URL}/mcp/okay"),
    "a longer path": lambda m: m.token(aud=f"{URL}/mcp/ok/more"),
    "no audience": lambda m: m.token(aud=None),
    "an empty audience": lambda m: m.token(aud=[]),
    "an audience that is no text": lambda m: m.token(aud=[{"uri": URL}]),
    "expired": lambda m: m.token(iat=NOW - 400, exp=NOW - 100),
    "not yet valid": lambda m: m.token(nbf=NOW + 3600),
    "issued in the future": lambda m: m.token(iat=NOW + 3600, exp=NOW + 3900),
    "no expiry": lambda m: m.token(exp=None),
    "an expiry that is text": lambda m: m.token(exp=str(NOW + 300)),
    "an expiry that is true": lambda m: m.token(exp=True),
    "a life of a year": lambda m: m.token(exp=NOW + 31_536_000),
    "another organisation": lambda m: m.token(tenant=str(m.stage.globex.tenant_id)),
    "no organisation": lambda m: m.token(tenant=None),
    "an unknown key": lambda m: m.token(key="0" * 12),
    "a key that is an OAuth client's": lambda m: m.token(client_id="somebody"),
    "a client that is no text": lambda m: m.token(client_id=["somebody"]),
    "no scope": lambda m: m.token(scope=None),
    "two payloads": lambda m: m.token() + "." + m.token().split(".")[1],
    "a changed payload": lambda m: swapped(m.token(), m.token(sub="root")),
    "padding": lambda m: m.token().replace(".", "=.", 1),
    "endless": lambda m: m.token(sub="x" * 9000),
    "a header that is a list": lambda m: b64(b"[1]") + "." + m.token().split(".", 1)[1],
    "deep JSON in the header": lambda m: b64(b"{" + b'"a":{' * 900) + "." + m.token().split(".", 1)[1],
}


def swapped(one: str, other: str) -> str:
    head, _, signature = one.split(".")
    return f"{head}.{other.split('.')[1]}.{signature}"


@pytest.fixture
def minted(stage: Stage) -> Minted:
    return Minted(stage)


def post(stage: Stage, token: str, server: str = "ok", **more: str) -> httpx.Response:
    headers = stage.modern("tools/call", "echo") | {"authorization": f"Bearer {token}"} | more
    return httpx.post(f"{stage.base}/mcp/{server}", content=CALL, headers=headers, timeout=10)


def exchange(stage: Stage, token: str | None = None, **wish: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token or stage.token}"}
    return httpx.post(f"{stage.base}/v1/token", json=wish or {}, headers=headers, timeout=10)


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_refused(stage: Stage, minted: Minted, name: str) -> None:
    rows, seen = len(stage.rows()), len(stage.upstream.requests)
    response = post(stage, FORGED[name](minted))
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert (len(stage.rows()), len(stage.upstream.requests)) == (rows, seen)


def test_the_corpus_differs_from_a_good_token_in_one_thing_only(stage: Stage, minted: Minted) -> None:
    assert post(stage, minted.token()).status_code == 200
    assert post(stage, minted.raw()).status_code == 200
    assert len(FORGED) >= 40


@pytest.mark.parametrize(
    "aud", [URL, URL + "/", URL + "/mcp", URL + "/mcp/ok", URL + "/ok/mcp", ["x", URL + "/mcp/ok/"]]
)
def test_a_token_for_the_server_or_for_everything_is_accepted(stage: Stage, minted: Minted, aud: Any) -> None:
    assert post(stage, minted.token(aud=aud)).status_code == 200


def test_a_token_for_one_server_is_refused_at_another_by_every_way(stage: Stage, minted: Minted) -> None:
    token = minted.token(aud=f"{URL}/mcp/other")
    headers = {"authorization": f"Bearer {token}"}
    wish = {"server": "ok", "tool": "echo", "arguments": {}}
    assert post(stage, token).status_code == 401
    assert httpx.post(f"{stage.base}/v1/invoke", json=wish, headers=headers).status_code == 401
    assert httpx.get(f"{stage.base}/mcp/ok", headers=headers | {"accept": "text/event-stream"}).status_code == 401
    own = {"authorization": f"Bearer {minted.token(aud=f'{URL}/mcp/ok')}"}
    assert httpx.post(f"{stage.base}/v1/invoke", json=wish, headers=own).status_code == 200


def test_a_key_is_exchanged_for_a_token_that_calls_as_the_key(stage: Stage) -> None:
    answer = exchange(stage)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 300, "invoke")
    response = post(stage, body["access_token"])
    assert response.status_code == 200
    row = stage.row(response)
    assert (row["api_key_id"], row["credential"], row["outcome"]) == (stage.key.api_key_id, "token", "ok")
    assert stage.upstream.requests[-1].header("authorization") != f"Bearer {body['access_token']}"


def test_a_token_is_asked_for_without_a_body_as_well(stage: Stage) -> None:
    headers = {"authorization": f"Bearer {stage.token}"}
    assert httpx.post(f"{stage.base}/v1/token", headers=headers).status_code == 200


def test_scope_and_servers_only_shrink(stage: Stage) -> None:
    token, key = stage.world.key(stage.acme, scopes=frozenset({"invoke", "catalog:read"}))
    stage.world.grant(stage.acme, stage.servers["ok"], key)
    assert exchange(stage, token, scope="invoke admin").status_code == 400
    assert exchange(stage, token, scope="").status_code == 400
    reader = exchange(stage, token, scope="catalog:read").json()["access_token"]
    assert post(stage, reader).status_code == 403
    one = exchange(stage, token, servers=["ok"]).json()["access_token"]
    assert post(stage, one).status_code == 200
    assert post(stage, one, "sdk").status_code == 401
    assert exchange(stage, token, servers=[]).status_code == 400
    assert exchange(stage, token, servers=["/"]).status_code == 200  # a name of nothing opens nothing
    assert exchange(stage, token, audience="x").status_code == 400


@pytest.mark.parametrize("life", [0, 601, "60", True, None, 60.5])
def test_a_token_lives_ten_minutes_at_most(stage: Stage, life: Any) -> None:
    assert exchange(stage, expires_in=life).status_code == 400


def test_a_token_cannot_be_exchanged(stage: Stage) -> None:
    answer = exchange(stage, exchange(stage).json()["access_token"])
    assert (answer.status_code, answer.json()["code"]) == (403, "access.key_needed")


def test_a_token_ends_with_its_key(stage: Stage) -> None:
    text, key = stage.world.key(stage.acme, expires_at=clock.now() + timedelta(seconds=60))
    stage.world.grant(stage.acme, stage.servers["ok"], key)
    answer = exchange(stage, text).json()
    assert answer["expires_in"] <= 60
    assert post(stage, answer["access_token"]).status_code == 200
    entries = dict(stage.world.loader.tenants[stage.acme.tenant_id].keys)
    del entries[key.key_id]
    stage.world.change(stage.acme.tenant_id, keys=entries)
    wait_until(
        lambda: post(stage, answer["access_token"]).status_code == 401, "the token of a revoked key to be refused"
    )


def test_asking_for_tokens_is_paced(urls, build_stage, sdk_port) -> None:
    make, world, upstream = build_stage()
    config = config_for(*urls, upstream.port, sdk_port)
    with running_gateway(replace(config, limits=replace(config.limits, tokens_per_minute=2)), world.loader) as base:
        stage = make(base)
        statuses = [exchange(stage).status_code for _ in range(6)]  # a minute may end in between, once
    assert statuses.count(429) >= 2
    assert statuses[0] == 200


class TestConsents:
    """An OAuth consent is an entry like a key, which only tokens stand for."""

    @pytest.fixture
    def consent(self, stage: Stage) -> Any:
        _, key = stage.world.key(stage.acme, key_id=f"oauth_{uuid4().hex}", kind="oauth", client_id="client-1")
        stage.world.grant(stage.acme, stage.servers["ok"], key)
        return key

    def test_its_token_calls_as_the_consent(self, stage: Stage, minted: Minted, consent: Any) -> None:
        response = post(stage, minted.token(key=consent.key_id, client_id="client-1"))
        assert response.status_code == 200
        row = stage.row(response)
        assert (row["credential"], row["client_id"], row["api_key_id"]) == ("oauth", "client-1", consent.api_key_id)

    def test_another_clients_token_is_refused(self, stage: Stage, minted: Minted, consent: Any) -> None:
        assert post(stage, minted.token(key=consent.key_id, client_id="client-2")).status_code == 401
        assert post(stage, minted.token(key=consent.key_id)).status_code == 401

    def test_without_the_scope_the_challenge_names_what_is_needed(
        self, stage: Stage, minted: Minted, consent: Any
    ) -> None:
        token = minted.token(key=consent.key_id, client_id="client-1", scope="catalog:read")
        for legacy in (False, True):
            more = {"mcp-protocol-version": "2025-11-25"} if legacy else {}
            content = body_of("tools/list", None, modern=False) if legacy else CALL
            headers = stage.modern("tools/call", "echo") | {"authorization": f"Bearer {token}"} | more
            response = httpx.post(f"{stage.base}/mcp/ok", content=content, headers=headers)
            assert response.status_code == 403
            challenge = response.headers["www-authenticate"]
            assert 'error="insufficient_scope"' in challenge
            assert 'scope="invoke"' in challenge
            assert f'resource_metadata="{URL}/.well-known/oauth-protected-resource/mcp/ok"' in challenge


class TestDiscovery:
    @pytest.mark.parametrize("path", ["/mcp/ok", "/ok/mcp"])
    def test_a_challenge_leads_to_the_metadata_of_this_resource(self, stage: Stage, path: str) -> None:
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        response = httpx.post(stage.base + path, content=CALL, headers=headers)
        assert response.status_code == 401
        challenge = response.headers["www-authenticate"]
        assert "error=" not in challenge  # nothing was wrong, something was missing
        assert f'resource_metadata="{URL}/.well-known/oauth-protected-resource{path}"' in challenge
        document = httpx.get(f"{stage.base}/.well-known/oauth-protected-resource{path}").json()
        assert document["resource"] == URL + path
        assert document["authorization_servers"] == [URL]
        assert document["scopes_supported"] == ["invoke"]
        assert document["bearer_methods_supported"] == ["header"]

    @pytest.mark.parametrize(
        ("path", "resource"), [("", URL), ("/mcp", URL + "/mcp"), ("/v1/invoke", URL + "/v1/invoke")]
    )
    def test_the_metadata_of_everything_lies_at_the_root(self, stage: Stage, path: str, resource: str) -> None:
        response = httpx.get(f"{stage.base}/.well-known/oauth-protected-resource{path}")
        assert response.json()["resource"] == resource
        assert response.headers["access-control-allow-origin"] == "*"

    @pytest.mark.parametrize("path", ["x", "/admin", "/api/mcp", '/"/mcp'])
    def test_what_is_no_resource_of_ours_has_none(self, stage: Stage, path: str) -> None:
        assert httpx.get(f"{stage.base}/.well-known/oauth-protected-resource{path}").status_code == 404


class TestAddresses:
    @pytest.fixture
    def behind(self, urls, build_stage, sdk_port) -> Iterator[Stage]:
        make, world, upstream = build_stage()
        with running_gateway(config_for(*urls, upstream.port, sdk_port, trusted_proxies=1), world.loader) as base:
            yield make(base)

    def key_for(self, stage: Stage, *ranges: str) -> str:
        text, key = stage.world.key(stage.acme, networks=frozenset(ranges))
        stage.world.grant(stage.acme, stage.servers["ok"], key)
        return text

    def test_a_key_is_refused_outside_its_ranges(self, stage: Stage) -> None:
        assert post(stage, self.key_for(stage, "203.0.113.0/24", "2001:db8::/32")).status_code == 401
        assert post(stage, self.key_for(stage, "127.0.0.0/8")).status_code == 200

    def test_a_forwarded_address_counts_for_nothing_without_a_trusted_proxy(self, stage: Stage) -> None:
        text = self.key_for(stage, "203.0.113.0/24")
        assert post(stage, text, **{"x-forwarded-for": "203.0.113.5"}).status_code == 401
        inside = self.key_for(stage, "127.0.0.0/8")
        assert post(stage, inside, **{"x-forwarded-for": "203.0.113.5"}).status_code == 200

    def test_behind_a_proxy_what_it_appended_counts_and_nothing_left_of_it(self, behind: Stage) -> None:
        text = self.key_for(behind, "203.0.113.0/24")
        assert post(behind, text, **{"x-forwarded-for": "198.51.100.1, 203.0.113.5"}).status_code == 200
        assert post(behind, text, **{"x-forwarded-for": "203.0.113.5, 198.51.100.1"}).status_code == 401
        assert post(behind, text).status_code == 401
        loopback = self.key_for(behind, "127.0.0.0/8")
        assert post(behind, loopback).status_code == 401  # the proxy's own address is nobody's

    def test_its_tokens_are_bound_to_the_ranges_as_well(self, stage: Stage) -> None:
        text = self.key_for(stage, "127.0.0.0/8")
        token = exchange(stage, text).json()["access_token"]
        assert post(stage, token).status_code == 200
        assert exchange(stage, self.key_for(stage, "203.0.113.0/24")).status_code == 401


@pytest.mark.parametrize("path", ["/mcp/ok", "/v1/invoke", "/v1/token"])
def test_a_cookie_is_no_credential(stage: Stage, path: str) -> None:
    headers = stage.modern("tools/call", "echo")
    del headers["authorization"]
    cookies = {"session": stage.token, "__Host-session": stage.token, "authorization": f"Bearer {stage.token}"}
    assert httpx.post(stage.base + path, content=CALL, headers=headers, cookies=cookies).status_code == 401
