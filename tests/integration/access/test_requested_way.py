"""From a refusal at the gateway to a call that passes, and back: asked for by the link of the refusal, approved, over."""

from __future__ import annotations

import os
import time
from uuid import uuid4

import httpx
import pytest

from access.models import AccessRequest, Grant
from access.services import grants
from access.services.connect import connect
from gateway.services.entries import ModelLoader
from marketplace.gateway_config import build_config
from tenants.choices import Scope
from tenants.context import PLATFORM, tenant_scope, viewer
from tests.integration.access.conftest import browser_of
from tests.support.cast import cast_of_its_own, make_server
from tests.support.gateways import running_gateway
from tests.support.upstreams import misbehaving_upstream


@pytest.fixture
def scene(durable_db, settings):
    """An organisation with a server, and a key of an agent that may read there and nothing else."""
    cast, name = cast_of_its_own(), f"asked{uuid4().hex[:8]}"
    settings.REDIS_URL = os.environ["REDIS_URL"]
    with misbehaving_upstream() as upstream:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{upstream.port}"]
        with viewer(PLATFORM):
            server = make_server(cast.acme, name, "Asked for", visibility="org", url=upstream.url("ok"))
        with tenant_scope(cast.acme):
            key = connect(
                tenant=cast.acme, name=name, scopes=[Scope.INVOKE], servers=[server], actor=cast.alice, agent=name
            )
        with running_gateway(build_config(), ModelLoader()) as base:
            yield cast, server, key.text, base


def refund(base: str, server, key: str) -> httpx.Response:
    return httpx.post(
        f"{base}/v1/invoke",
        json={"server": server.slug, "tool": "refund_invoice", "arguments": {"invoice_id": "INV-1"}},
        headers={"authorization": f"Bearer {key}"},
        timeout=20,
    )


def until(base, server, key, wanted: bool) -> dict:
    """The answer once the gateway has heard of the change; it hears within a second, and looks by itself otherwise."""
    for _ in range(200):
        answer = refund(base, server, key)
        if (answer.status_code == 200) == wanted:
            return answer.json()
        time.sleep(0.1)
    raise AssertionError(answer.text)


def test_a_refusal_leads_to_a_request_its_approval_to_a_call_and_its_end_to_a_refusal(scene):
    cast, server, key, base = scene
    refused = until(base, server, key, wanted=False)

    path = refused["request_url"].partition("/o/")[2]
    bob = browser_of(cast.bob)
    page = bob.get(f"/o/{path}").content.decode()
    [tool] = [part for part in page.split("<input") if 'name="tools" value="refund_invoice"' in part]
    assert "checked" in tool.split(">")[0]
    assert f'value="{server.slug}"' in page, "the agent carries the same name"
    wish = {"tools": ["refund_invoice"], "agent": server.slug, "subject": "", "duration_h": "1", "reason": "Refund"}
    bob.post(f"/o/{path}", wish)
    with tenant_scope(cast.acme):
        request = AccessRequest.objects.get(server=server)
    decision = {"act": "approve", "digest": request.digest, "tools": ["refund_invoice"], "max_trust": "high"}
    terms = {"side_effects": ["destructive"], "duration_h": "1", "comment": ""}
    browser_of(cast.alice).post(f"/o/{cast.acme.slug}/requests/{request.pk}/", decision | terms)

    until(base, server, key, wanted=True)
    with tenant_scope(cast.acme):
        grant = Grant.objects.get(request_id=request.pk)
        grants.revoke(tenant=cast.acme, grant_id=grant.pk, actor=cast.alice)
    assert "request_url" in until(base, server, key, wanted=False)
