"""Health checks carry the owner's own credential and the marketplace's word, to the owner's own server alone."""

from __future__ import annotations

import base64
import hashlib
import json

import jwt
import pytest

from access.models import CredentialStatus, UpstreamCredential
from access.services import connections
from catalog.choices import Status
from catalog.health import rounds
from catalog.health.checks import Limits
from catalog.models import Server
from core.signing import ALGORITHM
from tenants.context import platform_scope, tenant_scope
from tenants.services import signing
from tests.integration.catalog.fakes import Answer, modern, serving
from tests.support.cast import PAYMENTS_TOOLS, make_server

pytestmark = pytest.mark.django_db
SECRET = "canary-of-the-owner"


def closed(seen):
    """Lets in who shows the secret."""
    if seen.headers.get("authorization") != f"Bearer {SECRET}":
        return Answer(401, b"", content_type="text/plain")
    return modern(PAYMENTS_TOOLS)(seen)


@pytest.fixture
def server(cast, settings):
    with serving(closed) as running:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{running.port}", "127.0.0.1:9"]
        with platform_scope():
            Server.objects.update(status=Status.REMOVED)
            row = make_server(cast.initech, "closed", "Closed", url=running.url)
            Server.objects.filter(pk=row.pk).update(auth_mode="header", health="unknown", health_checked_at=None)
            row.refresh_from_db()
        running.row = row
        yield running


def store(tenant, server) -> UpstreamCredential:
    with tenant_scope(tenant):
        actor = tenant.memberships.first().user
        return connections.store(tenant=tenant, server=server.row, secret=connections.bearer(SECRET), actor=actor)


def go(server) -> Server:
    rounds.run(Limits(allow=server.allow, starts_per_second=0))
    with platform_scope():
        return Server.objects.get(pk=server.row.pk)


def test_with_the_owner_s_credential_the_tools_are_compared(cast, server):
    store(cast.initech, server)

    assert (go(server).health, go(server).health_detail) == ("ready", "")


def test_without_one_the_state_is_unknown_and_the_reason_is_shown(cast, server, client):
    found = go(server)

    assert found.health == "unknown"
    assert "its owner has stored none" in found.health_detail
    page = " ".join(client.get("/servers/closed/status/").content.decode().split())
    assert "its owner has stored none" in page


def test_a_credential_of_another_organisation_is_never_shown(cast, server):
    store(cast.acme, server)

    assert go(server).health == "unknown"
    assert all("authorization" not in seen.headers for seen in server.seen)


def test_it_goes_to_the_origin_that_it_was_entered_for_alone(cast, server):
    row = store(cast.initech, server)
    with tenant_scope(cast.initech):
        UpstreamCredential.objects.filter(pk=row.pk).update(origin="https://elsewhere.example")

    go(server)

    assert all("authorization" not in seen.headers for seen in server.seen)


def test_one_that_ended_is_not_used_and_said(cast, server):
    row = store(cast.initech, server)
    with tenant_scope(cast.initech):
        UpstreamCredential.objects.filter(pk=row.pk).update(status=CredentialStatus.ENDED)

    assert "has ended" in go(server).health_detail


def test_the_marketplace_says_who_asks_in_a_token_for_each_request(cast, server, settings):
    store(cast.initech, server)
    go(server)

    seen = server.seen[-1]
    token = seen.headers["x-marketplace-token"]
    with platform_scope():
        key = signing.public_key(jwt.get_unverified_header(token)["kid"])
    claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=server.url, issuer=settings.PUBLIC_URL)
    assert (claims["sub"], claims["tenant"]) == ("platform:health", str(cast.initech.pk))
    assert (claims["method"], claims["tool"]) == ("tools/list", "")
    tokens = {each.headers["x-marketplace-token"] for each in server.seen}
    assert len(tokens) == len(server.seen)
    assert claims["rqh"] == base64.urlsafe_b64encode(hashlib.sha256(_body(seen)).digest()).rstrip(b"=").decode()


def test_no_text_of_a_pass_holds_the_secret(cast, server):
    store(cast.initech, server)
    with platform_scope():
        known = rounds._due()

    assert SECRET not in repr(known)


def _body(seen) -> bytes:
    return json.dumps(seen.message).encode()
