"""The main path as a newcomer walks it: sign up, found an organisation, find a server, take a key, call, see the call."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.e2e.conftest import THEMES, WIDTHS, code_from_mailbox
from tests.e2e.furnish import become_operator, consent_url, furnish, log_in
from tests.support.stack import ROOT, RunningStack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]

PASSWORD = "a long pass phrase of words"
README_IMAGE = Path(__file__).resolve().parents[2] / "docs" / "images" / "home.png"


def in_thread(coroutine):
    """Run a coroutine beside the browser driver, which keeps a loop of its own on this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result(timeout=60)


async def use_server(stack: RunningStack, key: str, mode: str) -> tuple[str, list[str], object, MCPError | None]:
    """What a real client sees: the revision, the tools, an allowed call, and the refusal of another."""
    refusal = None
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=60)) as http:
        transport = streamable_http_client(f"{stack.url}/mcp/payments", http_client=http)
        async with Client(transport, mode=mode) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            result = await client.call_tool("list_invoices", {"limit": 2})
            try:
                await client.call_tool("refund_invoice", {"invoice_id": "INV-1040", "amount_cents": 100})
            except MCPError as error:
                refusal = error
            return client.protocol_version, tools, result, refusal


@pytest.mark.parametrize(("mode", "revision"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_the_official_client_lists_calls_and_is_refused_with_the_next_step(stack, mode, revision):
    protocol, tools, result, refusal = in_thread(use_server(stack, stack.demo["MARKETPLACE_API_KEY"], mode))

    assert protocol == revision
    assert tools == ["list_invoices"], "a list holds what the key may call"
    assert not result.is_error
    assert len(result.structured_content["invoices"]) == 2
    assert refusal is not None
    assert "destructive" in str(refusal)
    assert "grant" in str(refusal.error.data["next_step"])


def test_the_examples_for_callers_run_as_they_are_printed(stack):
    page = (ROOT / "docs" / "calling.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [script] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)

    found = run([sys.executable, "-c", program], stack)
    token = json.loads(run(["sh", "-c", script], stack))

    assert "payments__list_invoices" in found
    assert "INV-" in found
    assert (token["expires_in"], token["scope"]) == (120, "invoke")
    call = {"server": "payments", "tool": "list_invoices", "arguments": {"limit": 1}}
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert httpx2.post(f"{stack.url}/v1/invoke", json=call, headers=headers).status_code == 200
    assert httpx2.post(f"{stack.url}/v1/invoke", json=call | {"server": "text"}, headers=headers).status_code == 401


def run(command: list[str], stack: RunningStack) -> str:
    environment = os.environ | {name: stack.demo[name] for name in ("MARKETPLACE_URL", "MARKETPLACE_API_KEY")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sign_up(page, address: str) -> None:
    page.goto("/")
    page.get_by_role("link", name="Sign up").first.click()
    page.get_by_label("Your name").fill("Grace Hopper")
    page.get_by_label(re.compile("^Email")).fill(address)
    page.get_by_label(re.compile("^Password")).fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/accounts/confirm-email/")
    waiting = page.url
    code = code_from_mailbox(page, address)
    page.goto(waiting)
    page.get_by_label(re.compile("[Cc]ode")).fill(code)
    page.get_by_role("main").get_by_role("button").first.click()
    page.wait_for_url("**/organisations/new/")


def found_organisation(page, name: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Create organisation").click()
    page.get_by_role("heading", name="Discover governed MCP servers").wait_for()


def take_key(page) -> str:
    """From the catalog to a key, by the one action that each page offers."""
    page.get_by_role("link", name="Payments").first.click()
    page.get_by_role("heading", name="Payments").wait_for()
    page.get_by_role("link", name=re.compile("Create (a )?key|Get a key|Create key")).first.click()
    page.get_by_label("Name", exact=True).fill("First agent")
    assert page.get_by_role("checkbox", name=re.compile("Payments")).first.is_checked()
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("heading", name="Key created").wait_for()
    text = page.locator(".key-once").inner_text()
    key = re.search(r"mk_[a-z]+_[0-9A-Za-z]+_[0-9A-Za-z]+_[0-9A-Za-z]+", text)
    assert key, text
    return key[0]


def test_a_newcomer_goes_from_sign_up_to_a_governed_metered_call(stack, open_page, shoot):
    page = open_page()
    tag = uuid.uuid4().hex[:8]
    sign_up(page, f"grace-{tag}@newcomer.example")
    found_organisation(page, f"Newcomer {tag}")
    key = take_key(page)
    assert key in page.locator("main").inner_text()
    page.reload()
    assert key not in page.content(), "a key is shown once"

    page.goto(f"/o/newcomer-{tag}/calls/")
    assert page.get_by_text("list_invoices").count() == 0 or page.locator("table").count() == 0
    _, _, result, refusal = in_thread(use_server(stack, key, "auto"))
    assert not result.is_error
    assert refusal is not None

    # No reload: the page follows the calls as they are made.
    page.get_by_role("row", name=re.compile("list_invoices.*Allowed", re.DOTALL)).first.wait_for()
    refused = page.get_by_role("row", name=re.compile("refund_invoice.*Refused", re.DOTALL)).first
    refused.wait_for()
    assert "0.02" in page.get_by_role("row", name=re.compile("list_invoices")).first.inner_text()

    refused.get_by_role("link", name="refund_invoice").click()
    page.get_by_role("heading", name=re.compile("refund_invoice")).first.wait_for()
    body = page.get_by_role("main").inner_text()
    assert "side effect" in body.lower()
    shoot(page, "newcomer-refused-call", "light", 1280)


@pytest.fixture(scope="module")
def furnished(stack, chromium) -> dict:
    """The signed-in states of alice and olga, when everything that pages show is there."""
    states = {}
    for name, prepare in (("alice", furnish), ("olga", become_operator)):
        context = chromium.new_context(base_url=stack.url)
        prepare(context.new_page(), stack)
        states[name] = context.storage_state()
        context.close()
    return states


PUBLIC_PAGES = {
    "home-public": "/",
    "server-public": "/servers/payments/",
    "server-status": "/servers/payments/status/",
    "login": "/accounts/login/",
    "signup": "/accounts/signup/",
    "password-reset": "/accounts/password/reset/",
    "not-found": "/no-such-page/",
    "styleguide": "/styleguide/",
}
MEMBER_PAGES = {
    "home": "/",
    "server": "/servers/payments/",
    "server-tools": "/servers/payments/?tab=tools",
    "server-install": "/servers/payments/?tab=install",
    "server-access": "/servers/payments/?tab=access",
    "server-security": "/servers/payments/?tab=security",
    "server-usage": "/servers/payments/?tab=usage",
    "server-quarantine": "/servers/text/?tab=tools",
    "calls": "/o/acme/calls/",
    "live": "/o/acme/live/",
    "keys": "/o/acme/keys/",
    "key-create": "/o/acme/keys/new/?server=payments",
    "access": "/o/acme/access/",
    "access-give": "/o/acme/access/new/?server=payments",
    "access-explain": "/o/acme/access/explain/",
    "limits": "/o/acme/access/limits/",
    "limit-create": "/o/acme/access/limits/new/",
    "connections": "/o/acme/connections/",
    "connection-choose": "/o/acme/connections/new/",
    "connection-create": "/o/acme/connections/new/?server=payments",
    "applications": "/accounts/applications/",
    "oauth-error": "/oauth/authorize?client_id=unknown&response_type=code",
    "people": "/o/acme/people/",
    "audit": "/o/acme/audit/",
    "settings": "/o/acme/settings/",
    "notifications": "/o/acme/notifications/",
    "organisation-create": "/organisations/new/",
    "second-factor": "/accounts/2fa/",
    "sessions": "/accounts/sessions/",
    "password": "/accounts/password/change/",
}
OPERATOR_PAGES = {
    "operations-live": "/operations/live/",
    "operations-health": "/operations/health/",
    "operations-import": "/operations/import/",
    "operations-quarantine": "/operations/quarantine/",
    "operations-records": "/operations/records/",
    "operations-settings": "/operations/settings/",
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_every_page_fits_its_window_and_reads_in_both_themes(stack, open_page, shoot, furnished, theme, width):
    page = open_page(theme, width)
    for name, path in PUBLIC_PAGES.items():
        page.goto(path)
        shoot(page, name, theme, width)
    in_thread(use_server(stack, stack.demo["MARKETPLACE_API_KEY"], "auto"))
    page = open_page(theme, width, furnished["alice"])
    for name, path in MEMBER_PAGES.items():
        page.goto(path)
        shot = shoot(page, name, theme, width)
        if name == "home" and theme == "light" and width == 1280 and os.environ.get("MARKETPLACE_WRITE_DOCS"):
            README_IMAGE.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(shot, README_IMAGE)
    page.goto("/o/acme/calls/")
    page.get_by_role("link", name="refund_invoice").first.click()
    page.wait_for_url(re.compile("/calls/[0-9a-f-]{36}/"))
    shoot(page, "call", theme, width)
    page.goto("/o/acme/keys/")
    page.get_by_role("link", name="All tools").first.click()
    page.get_by_role("button", name="Save").wait_for()
    shoot(page, "key-lists", theme, width)
    page.goto(consent_url(stack))
    page.get_by_role("heading", name="Allow “Desk assistant”?").wait_for()
    shoot(page, "consent", theme, width)
    page = open_page(theme, width, furnished["olga"])
    for name, path in OPERATOR_PAGES.items():
        page.goto(path)
        shoot(page, name, theme, width)


@pytest.mark.parametrize("theme", THEMES)
def test_no_page_has_an_accessibility_fault_that_axe_can_find(stack, open_page, furnished, theme):
    page = open_page(theme, 1280)
    faults = {}
    for name, path in PUBLIC_PAGES.items():
        page.goto(path)
        faults[name] = axe_faults(page)
    for person, pages in (("alice", MEMBER_PAGES | {"consent": consent_url(stack)}), ("olga", OPERATOR_PAGES)):
        page = open_page(theme, 1280, furnished[person])
        for name, path in pages.items():
            page.goto(path)
            faults[name] = axe_faults(page)
    assert {name: found for name, found in faults.items() if found} == {}


def axe_faults(page) -> list[str]:
    results = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:160]} ({len(violation['nodes'])}x)"
        for violation in results.response["violations"]
    ]


def test_keys_alone_reach_search_palette_and_pages(stack, open_page):
    page = open_page()
    log_in(page, stack, "alice@acme.example")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("payments")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=payments"))
    page.get_by_role("heading", name="Discover governed MCP servers").click()
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").wait_for()
    page.keyboard.type("calls")
    page.keyboard.press("Enter")
    page.wait_for_url("**/o/acme/calls/")


def test_browsing_and_searching_work_without_javascript(stack, chromium):
    context = chromium.new_context(base_url=stack.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/?q=invoices")
    assert page.get_by_role("link", name="Payments").count() >= 1
    page.goto("/servers/payments/?tab=tools")
    assert page.get_by_text("refund_invoice").count() >= 1
    context.close()


def test_limits_connections_and_approvals_work_without_javascript(stack, chromium, furnished):
    context = chromium.new_context(base_url=stack.url, java_script_enabled=False, storage_state=furnished["alice"])
    page = context.new_page()
    page.goto("/o/acme/access/limits/new/")
    page.get_by_label("Name", exact=True).fill("For a moment")
    page.get_by_label("Amount").fill("7")
    page.get_by_role("button", name="Save the limit").click()
    page.get_by_role("row", name=re.compile("For a moment")).get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove limit").click()
    page.get_by_text("“For a moment” is removed").first.wait_for()
    assert page.get_by_role("row", name=re.compile("For a moment")).count() == 0
    page.goto("/o/acme/connections/new/?server=payments&kind=header")
    assert page.get_by_label("Header", exact=True).count() == 1
    page.goto("/o/acme/live/")
    page.get_by_role("heading", name="Servers").wait_for()
    page.goto(consent_url(stack, "Another assistant"))
    page.get_by_role("button", name="Do not allow").wait_for()
    context.close()
