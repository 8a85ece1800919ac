"""The playground in a browser, on the running product: what people fill in goes through the gateway and comes back explained."""

from __future__ import annotations

import contextlib
import re

import pytest
from playwright.sync_api import TimeoutError  # noqa: A004 - what its waiting raises

from tests.e2e.conftest import THEMES
from tests.e2e.furnish import log_in, shell
from tests.e2e.test_main_path import axe_faults
from tests.support.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]

PLACE = "/o/acme/playground/servers"
# A tool that takes its time and tells of it.
SLOW = "A paragraph of words.\n\n" * 40


@pytest.fixture(scope="module")
def alice(stack, chromium) -> dict:
    context = chromium.new_context(base_url=stack.url)
    log_in(context.new_page(), stack, "alice@acme.example")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(scope="module")
def bob(stack, chromium) -> dict:
    context = chromium.new_context(base_url=stack.url)
    log_in(context.new_page(), stack, "bob@acme.example")
    state = context.storage_state()
    context.close()
    return state


def run_invoices(page, limit: str = "2"):
    page.goto(f"{PLACE}/payments/?tool=list_invoices")
    page.get_by_label(re.compile("^limit")).fill(limit)
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/playground/runs/"))
    page.get_by_role("heading", name="Result", exact=True).wait_for()


@pytest.mark.parametrize("theme", THEMES)
def test_a_run_shows_its_result_beside_its_decision(stack, open_page, alice, shoot, theme):
    page = open_page(theme, 1280, alice)
    page.goto("/o/acme/playground/")
    shoot(page, "playground", theme, 1280)
    assert axe_faults(page) == []
    page.goto(f"{PLACE}/payments/?tool=list_invoices")
    page.get_by_text("Would be allowed").first.wait_for()
    shoot(page, "playground-tool", theme, 1280)
    assert axe_faults(page) == []

    run_invoices(page)
    main = page.get_by_role("main")
    text = main.inner_text()

    assert "INV-" in text
    assert "Allowed by a grant" in text
    assert "0.02" in text
    assert "Bearer ••••••" in text
    assert "Policy decided" in text
    shoot(page, "playground-run", theme, 1280)
    assert axe_faults(page) == []
    main.get_by_role("link", name="The call, with everything about it").click()
    page.wait_for_url(re.compile("/calls/"))
    assert "MCP Marketplace playground" in page.get_by_role("main").inner_text()


def test_on_a_phone_it_fits(stack, open_page, alice, shoot):
    page = open_page("light", 360, alice)
    for name, path in (("playground", ""), ("playground-tool", "servers/payments/?tool=refund_invoice")):
        page.goto(f"/o/acme/playground/{path}")
        shoot(page, name, "light", 360)
    run_invoices(page)
    shoot(page, "playground-run", "light", 360)


def test_what_is_refused_says_why_and_what_to_do(stack, open_page, alice, shoot):
    page = open_page("light", 1280, alice)
    page.goto(f"{PLACE}/payments/?tool=refund_invoice")
    page.get_by_label(re.compile("^invoice_id")).fill("INV-1040")
    page.get_by_label(re.compile("^amount")).fill("100")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Confirm that you want to run").wait_for()
    page.get_by_role("checkbox", name=re.compile("Run it for real")).first.check()
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/playground/runs/"))
    text = page.get_by_role("main").inner_text()

    assert "Refused" in text
    assert "Next:" in text
    assert "side effect" in text.lower()
    assert "nothing charged" in text
    shoot(page, "playground-refused", "light", 1280)


def test_a_person_who_has_no_key_runs_as_themself_and_needs_a_grant(stack, open_page, alice, bob):
    page = open_page("light", 1280, bob)
    page.goto(f"{PLACE}/text/?tool=count_words")
    assert "Would be refused" in page.get_by_role("main").inner_text()
    page.get_by_label(re.compile("^text")).fill("four words of mine")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/playground/runs/"))
    page.get_by_role("link", name="Ask for access").click()
    page.wait_for_url(re.compile("/access/request/.*server=text"))
    page.goto(f"{PLACE}/text/?tool=count_words")
    shell(
        stack,
        """
from access.services import grants
from catalog.models import Server
from tenants.context import tenant_scope, platform_scope
from tenants.models import Tenant, User
tenant, bob = Tenant.objects.get(slug="acme"), User.objects.get(email="bob@acme.example")
with tenant_scope(tenant):
    grants.give(tenant=tenant, server=Server.objects.get(slug="text"), subject=grants.Subject.of("user", str(bob.pk), bob.email),
                actor=None)
""",
    )
    page.reload()
    page.get_by_text("Would be allowed").first.wait_for()
    page.get_by_label(re.compile("^text")).fill("four words of mine")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/playground/runs/"))
    page.get_by_text("The tool answered").wait_for()


def test_progress_is_shown_and_a_run_can_be_cancelled(stack, open_page, alice):
    page = open_page("light", 1280, alice)
    page.goto(f"{PLACE}/text/?tool=summarise_lengths")
    page.get_by_label(re.compile("^text")).fill(SLOW)
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/playground/runs/"))
    page.get_by_role("heading", name="Under way").wait_for()
    page.get_by_role("progressbar").wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_text("Cancelled", exact=True).wait_for()
    page.get_by_role("heading", name="Decision", exact=True).wait_for()


def test_a_kept_run_is_shared_and_opened_again(stack, open_page, alice, bob):
    page = open_page("light", 1280, alice)
    run_invoices(page, "3")
    page.get_by_label("Name", exact=True).fill("Three invoices")
    page.get_by_role("checkbox", name=re.compile("Share it with everybody")).check()
    page.get_by_role("button", name="Keep the run").click()
    page.get_by_text("is kept and shared").first.wait_for()
    place = page.url
    other = open_page("light", 1280, bob)
    other.goto(place)
    assert "INV-" in other.get_by_role("main").inner_text()
    other.get_by_role("link", name="Run again").click()
    assert other.get_by_label(re.compile("^limit")).input_value() == "3"


def test_it_works_without_javascript(stack, chromium, alice):
    context = chromium.new_context(base_url=stack.url, java_script_enabled=False, storage_state=alice)
    page = context.new_page()
    page.goto(f"{PLACE}/payments/?tool=list_invoices")
    page.get_by_label("Arguments as JSON").fill('{"limit": 0}')
    page.get_by_role("button", name="Run with this JSON").click()
    page.get_by_text("/limit: The least is 1.").wait_for()
    page.get_by_label("Arguments as JSON").fill('{"limit": 1}')
    page.get_by_role("button", name="Run with this JSON").click()
    page.get_by_text("The tool answered").wait_for()
    context.close()


@pytest.mark.parametrize("theme", THEMES)
def test_who_can_what_can_and_what_would_change(stack, open_page, alice, shoot, theme):
    page = open_page(theme, 1280, alice)
    run_invoices(page, "1")
    page.goto("/o/acme/access/explain/who/?server=payments&tool=list_invoices")
    page.get_by_role("cell", name="Demo agent", exact=True).first.wait_for()
    shoot(page, "access-who", theme, 1280)
    assert axe_faults(page) == []
    page.get_by_role("link", name="Demo agent", exact=True).first.click()
    page.get_by_text("refund_invoice").first.wait_for()
    shoot(page, "access-can", theme, 1280)
    assert axe_faults(page) == []

    page.get_by_role("link", name="What a change would mean").click()
    page.get_by_role("tab", name="Change a policy").click()
    panel = page.get_by_role("tabpanel", name="Change a policy")
    panel.get_by_label("Server").select_option("payments")
    panel.get_by_label(re.compile("^Tool")).fill("list_invoices")
    panel.get_by_label("Needs trust").select_option("high")
    shoot(page, "access-simulate", theme, 1280)
    assert axe_faults(page) == []
    panel.get_by_role("button", name="Simulate").click()
    page.get_by_text("Would be refused, and are not").wait_for()
    page.get_by_role("heading", name="By tool").wait_for()
    assert "list_invoices" in page.get_by_role("main").inner_text()
    shoot(page, "access-simulation", theme, 1280)
    assert axe_faults(page) == []


def test_asking_about_access_fits_a_phone(stack, open_page, alice, shoot):
    page = open_page("light", 360, alice)
    for name, path in (("who", "who/?server=payments"), ("can", "can/"), ("simulate", "simulate/")):
        page.goto(f"/o/acme/access/explain/{path}")
        shoot(page, f"access-{name}", "light", 360)


# bob may make slugs, and a person approves each of his calls; nobody else's calls are concerned.
GUARD = """
from access.services import grants
from access.services.grants import Subject
from catalog.models import Server
from tenants.context import tenant_scope
from tenants.models import Tenant, User
acme, bob = Tenant.objects.get(slug="acme"), User.objects.get(email="bob@acme.example")
with tenant_scope(acme):
    grants.give(tenant=acme, server=Server.objects.get(slug="text"), subject=Subject.of("user", str(bob.pk)), actor=None,
                side_effects=["read"], max_trust="low", tool_rules=[{"name": "slugify", "approval": True}])
"""


def waits_for_approval(page) -> bool:
    """Whether a run waits for a person; not while the gateway has yet to hear of the grant that says so."""
    make_slug(page)
    with contextlib.suppress(TimeoutError):
        page.get_by_role("link", name="See what waits for approval").wait_for(timeout=5_000)
        return True
    return False


def make_slug(page) -> None:
    page.goto(f"{PLACE}/text/?tool=slugify")
    page.get_by_label(re.compile("^text")).fill("Autumn Catalogue")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/playground/runs/"))


def test_a_run_that_waits_for_a_person_leads_to_its_approval(stack, open_page, alice, bob, shoot):
    shell(stack, GUARD)
    asking, deciding = open_page("light", 1280, bob), open_page("light", 1280, alice)
    wait_until(lambda: waits_for_approval(asking), "a run to wait for its approval")
    shoot(asking, "playground-waits", "light", 1280)
    assert axe_faults(asking) == []
    asking.get_by_role("link", name="See what waits for approval").click()
    asking.get_by_role("heading", name="Call of slugify").wait_for()
    assert asking.get_by_role("button", name="Approve this call").count() == 0, "nobody approves a call of their own"

    deciding.goto(asking.url)
    deciding.get_by_label("Why").fill("A slug harms nobody")
    deciding.get_by_role("button", name="Approve this call").click()
    deciding.get_by_text("The call passes once").wait_for()
    make_slug(asking)
    asking.get_by_text("autumn-catalogue").first.wait_for()
