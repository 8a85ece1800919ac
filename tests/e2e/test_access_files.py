"""Access as files in the browser: uploaded, looked at, applied, in both themes and on a telephone."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import THEMES, WIDTHS
from tests.e2e.furnish import log_in
from tests.e2e.test_main_path import axe_faults

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]

FILES = """\
apiVersion: mcpruntime.org/v1alpha1
kind: MCPAccessGrant
metadata: {name: payments-ops, namespace: acme}
spec:
  serverRef: {name: payments}
  subject: {humanID: bob@acme.example, agentID: ops}
  maxTrust: high
  allowedSideEffects: [read]
  toolRules:
    - {name: list_invoices, decision: allow, requiredTrust: low}
---
apiVersion: mcpruntime.org/v1alpha1
kind: MCPAgentSession
metadata: {name: ops-session, namespace: acme}
spec:
  serverRef: {name: payments}
  subject: {humanID: bob@acme.example, agentID: ops}
  consentedTrust: low
"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_plan_is_read_before_it_is_applied(stack, open_page, shoot, tmp_path, theme, width):
    file = tmp_path / "access.yaml"
    file.write_text(FILES.replace("payments-ops", f"payments-ops-{theme}-{width}"))
    page = open_page(theme, width)
    log_in(page, stack, "alice@acme.example")
    page.goto("/o/acme/access/files/")
    page.get_by_label("Files", exact=True).set_input_files(file)
    page.get_by_role("button", name="Show what would change").click()
    page.get_by_role("heading", name="What would change").wait_for()
    assert page.get_by_text("It has no end of its own").is_visible()
    shoot(page, "access-files-plan", theme, width)
    assert axe_faults(page) == []

    page.get_by_role("button", name="Apply these changes").click()
    page.get_by_text("Gateways follow within a second").wait_for()
    page.goto("/o/acme/access/")
    assert page.get_by_text("bob@acme.example, ops").first.is_visible()
