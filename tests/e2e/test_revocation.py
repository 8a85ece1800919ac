"""A right that is taken back is gone for the next call, also when nobody can push the news."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.furnish import shell
from tests.support.processes import wait_until
from tests.support.stack import RunningStack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("stack")]

GRANT = """
from access.services import grants
from access.services.grants import Subject
from catalog.models import Server
from tenants.context import tenant_scope
from tenants.models import APIKey, Tenant
acme = Tenant.objects.get(slug="acme")
key = APIKey.objects.get(tenant=acme, agent="demo-agent")
with tenant_scope(acme):
    server = Server.objects.get(slug="payments")
    grant = grants.give(tenant=acme, server=server, subject=Subject.of("key", str(key.pk)), actor=None, tools=["{tool}"],
                        side_effects=["destructive"], max_trust="high")
    print("GRANT", grant.pk)
"""
REVOKE = """
from access.services import grants
from tenants.context import tenant_scope
from tenants.models import Tenant
acme = Tenant.objects.get(slug="acme")
with tenant_scope(acme):
    grants.revoke(tenant=acme, grant_id="{grant}", actor=None)
"""


def refund(stack: RunningStack) -> int:
    answer = httpx.post(
        f"{stack.url}/v1/invoke",
        headers={"Authorization": f"Bearer {stack.demo['MARKETPLACE_API_KEY']}"},
        json={
            "server": "payments",
            "tool": "refund_invoice",
            "arguments": {"invoice_id": "INV-1040", "amount_cents": 1},
        },
        timeout=20,
    )
    return answer.status_code


@pytest.fixture
def granted(stack: RunningStack) -> Iterator[str]:
    grant = shell(stack, GRANT.format(tool="refund_invoice")).split("GRANT ")[1].strip()
    wait_until(lambda: refund(stack) == 200, "the grant holds")
    return grant


def test_a_revoked_grant_refuses_the_next_call(stack: RunningStack, granted: str) -> None:
    shell(stack, REVOKE.format(grant=granted))

    # The push left with the commit; a second is the promise, a poll the net below it.
    wait_until(lambda: refund(stack) == 403, "the call is refused")


def test_a_revoked_grant_refuses_while_valkey_hangs(stack: RunningStack, granted: str) -> None:
    valkey = stack.pids()["valkey"]
    os.kill(valkey, signal.SIGSTOP)
    try:
        shell(stack, REVOKE.format(grant=granted))
        wait_until(lambda: refund(stack) == 403, "the call is refused")
    finally:
        os.kill(valkey, signal.SIGCONT)
