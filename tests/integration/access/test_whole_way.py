"""From the stored credential to the request that the server gets: real rows, two real gateways, keys as they are published."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from uuid import uuid4

import httpx
import jwt
import pytest
from django.core.management import call_command
from django.test import Client

from access.models import UpstreamCredential
from access.services import connections
from access.services.connect import connect
from core import clock
from gateway.services.entries import ModelLoader
from marketplace.gateway_config import build_config
from tenants.choices import Scope
from tenants.context import PLATFORM, platform_scope, tenant_scope, viewer
from tenants.services import revisions
from tests.support.cast import cast_of_its_own, make_server
from tests.support.gateways import running_gateway
from tests.support.oauth_servers import authorization_server


@pytest.fixture
def scene(durable_db, settings):
    """An organisation's own server behind OAuth, a key for it, and two gateways that read the database."""
    cast, name = cast_of_its_own(), f"oauth{uuid4().hex[:8]}"
    settings.REDIS_URL = os.environ["REDIS_URL"]
    with authorization_server() as fake:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{fake.port}"]
        with viewer(PLATFORM):
            server = make_server(cast.acme, name, "Behind OAuth", visibility="org", url=fake.url)
        with tenant_scope(cast.acme):
            connections.store_client(
                tenant=cast.acme, server=server, client_id="agent", client_secret="s3cret", scope="", actor=cast.alice
            )
            issued = connect(
                tenant=cast.acme, name=name, scopes=[Scope.INVOKE], servers=[server], actor=cast.alice, agent="a"
            )
        config = build_config()
        with running_gateway(config, ModelLoader()) as one, running_gateway(config, ModelLoader()) as two:
            yield cast, fake, server, issued.text, (one, two)
        with tenant_scope(cast.acme):
            UpstreamCredential.objects.filter(server_id=server.pk).delete()


def call(base: str, server, key: str) -> httpx.Response:
    return httpx.post(
        f"{base}/v1/invoke",
        json={"server": server.slug, "tool": "list_invoices"},
        headers={"authorization": f"Bearer {key}"},
        timeout=20,
    )


def received(fake) -> list[dict[str, str]]:
    return [headers for path, headers, _ in fake.asked if path == "/mcp" and "x-marketplace-token" in headers]


def test_the_server_gets_a_token_of_its_own_authorization_server_and_ours_and_not_the_caller_s(scene):
    _, fake, server, key, (one, _) = scene

    assert call(one, server, key).status_code == 200
    [*_, headers] = received(fake)
    keys = {each["kid"]: jwt.PyJWK(each) for each in Client().get("/.well-known/jwks.json").json()["keys"]}
    token = headers["x-marketplace-token"]
    claims = jwt.decode(token, keys[jwt.get_unverified_header(token)["kid"]], algorithms=["ES256"], audience=fake.url)
    assert claims["tool"] == "list_invoices"
    assert headers["authorization"].removeprefix("Bearer ") in fake.good
    assert key not in json.dumps(headers)


def test_many_calls_through_two_gateways_that_find_it_expired_ask_for_one_token(scene):
    cast, fake, server, key, gateways = scene
    for base in gateways:
        assert call(base, server, key).status_code == 200
    before = len(fake.asked_for("/token"))
    fake.good.clear()
    with tenant_scope(cast.acme):
        UpstreamCredential.objects.filter(server_id=server.pk).update(expires_at=clock.now(), renew_at=clock.now())
        revisions.touch(cast.acme.pk)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: call(gateways[number % 2], server, key), range(20)))

    # A call that left before the change arrived is answered by the server; it must not cost a second token.
    assert len(fake.asked_for("/token")) - before == 1
    assert call(gateways[0], server, key).status_code == call(gateways[1], server, key).status_code == 200
    assert {answer.status_code for answer in answers} <= {200, 502}


def test_no_call_fails_while_signing_keys_and_vault_keys_are_exchanged(scene):
    _, fake, server, key, gateways = scene
    assert call(gateways[0], server, key).status_code == 200

    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(call, gateways[number % 2], server, key) for number in range(60)]
        with platform_scope():
            for _ in range(2):
                call_command("rotate_signing_keys", now=True, stdout=StringIO())
                call_command("rotate_vault_keys", data_keys=True, stdout=StringIO())
        answers = [each.result() for each in pending]

    assert {answer.status_code for answer in answers} == {200}
    keys = {each["kid"]: jwt.PyJWK(each) for each in Client().get("/.well-known/jwks.json").json()["keys"]}
    for headers in received(fake):
        token = headers["x-marketplace-token"]
        jwt.decode(token, keys[jwt.get_unverified_header(token)["kid"]], algorithms=["ES256"], audience=fake.url)
