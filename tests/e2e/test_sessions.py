"""Sessions of agents and policies of servers in a browser; every page of them in both themes and widths."""

from __future__ import annotations

import pytest

from tests.e2e.furnish import log_in
from tests.e2e.test_requests import looks

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]


def test_a_session_is_opened_and_a_policy_is_read(stack, open_page, shoot):
    alice = open_page()
    log_in(alice, stack, "alice@acme.example")
    alice.goto("/o/acme/access/sessions/new/?server=payments")
    alice.get_by_label("Or an agent by name").fill("night-shift")
    alice.locator("#id_name").fill("morning")
    alice.get_by_role("button", name="Open the session").click()
    alice.get_by_role("cell", name="morning").first.wait_for()
    looks(
        alice,
        open_page,
        shoot,
        {
            "agent-sessions": "/o/acme/access/sessions/",
            "agent-session-form": "/o/acme/access/sessions/new/?server=payments",
            "grants": "/o/acme/access/?state=all",
            "grant-form": "/o/acme/access/new/?server=payments",
            "policies": "/o/acme/access/policies/",
            "policy": "/o/acme/access/policies/payments/",
        },
    )
