"""A call that waits for a person, in a browser: found, looked at, approved, and passed; its pages in both themes and widths."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.furnish import log_in, shell
from tests.e2e.test_requests import looks
from tests.support.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]

# A key of bob's, of which a person approves each call: nothing of it concerns other keys.
KEY = """
from access.services import grants
from access.services.grants import Subject
from catalog.models import Server
from tenants.choices import Scope
from tenants.context import tenant_scope
from tenants.models import Tenant, User
from tenants.services import api_keys
acme = Tenant.objects.get(slug="acme")
bob = User.objects.get(email="bob@acme.example")
issued = api_keys.issue(tenant=acme, name="Night shift", scopes=[Scope.INVOKE], actor=bob, agent="night-shift")
with tenant_scope(acme):
    grants.give(tenant=acme, server=Server.objects.get(slug="payments"), subject=Subject.of("key", str(issued.key.pk)),
                actor=None, side_effects=["read"], max_trust="high", tool_rules=[{"name": "list_invoices", "approval": True}])
print("KEY", issued.text)
"""


def test_a_waiting_call_is_approved_on_its_page_and_passes(stack, open_page, shoot):
    key = shell(stack, KEY).split("KEY ")[1].strip()

    def call() -> httpx.Response:
        return httpx.post(
            f"{stack.url}/v1/invoke",
            headers={"Authorization": f"Bearer {key}"},
            json={"server": "payments", "tool": "list_invoices", "arguments": {"status": "open"}},
            timeout=20,
        )

    wait_until(lambda: call().json().get("reason") == "approval_required", "the call waits")
    where = call().json()["approve_url"].partition("/o/")[2]
    alice = open_page()
    log_in(alice, stack, "alice@acme.example")
    alice.goto("/o/acme/access/approvals/")
    alice.get_by_role("link", name="list_invoices").first.click()
    alice.get_by_role("heading", name="Call of list_invoices").wait_for()
    assert alice.url.endswith(where)
    looks(
        alice,
        open_page,
        shoot,
        {
            "call-approvals": "/o/acme/access/approvals/",
            "call-approval": f"/o/{where}",
            "policy-guards": "/o/acme/access/policies/payments/",
        },
    )

    alice.get_by_label("Why").fill("Looked at with the accountants")
    alice.get_by_role("button", name="Approve this call").click()
    alice.get_by_text("The call passes once").wait_for()
    passed = call()
    assert passed.status_code == 200, passed.text
    assert call().status_code == 403
    alice.goto(f"/o/{where}")
    alice.get_by_text("Approved and used").wait_for()
    alice.get_by_role("link", name="The call that passed").click()
    alice.get_by_role("link", name="A person approved this call").wait_for()


def test_the_policy_page_chooses_whose_calls_wait_without_javascript(stack, chromium):
    context = chromium.new_context(base_url=stack.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page, stack, "alice@acme.example")
    page.goto("/o/acme/access/policies/payments/")
    page.get_by_label("refund_invoice").check()
    page.get_by_role("button", name="Save for your calls").click()
    page.get_by_text("Saved for your calls").wait_for()
    assert page.get_by_label("refund_invoice").is_checked()
    page.get_by_label("refund_invoice").uncheck()
    page.get_by_role("button", name="Save for your calls").click()
    page.get_by_text("Saved for your calls").wait_for()
    assert not page.get_by_label("refund_invoice").is_checked()
    context.close()
