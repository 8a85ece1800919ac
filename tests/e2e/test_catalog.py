"""The catalog in a browser: browsing, one server, texts of strangers, and what a private listing shows to whom."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import THEMES, WIDTHS
from tests.e2e.furnish import log_in, shell
from tests.e2e.test_main_path import axe_faults
from tests.support.xss import CORPUS

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]


@pytest.fixture(scope="module")
def stocked(stack):
    shell(stack, "from tests.support.strangers import stock; stock()")


def state_of(chromium, stack, address: str):
    context = chromium.new_context(base_url=stack.url)
    log_in(context.new_page(), stack, address)
    state = context.storage_state()
    context.close()
    return state


def test_somebody_browses_narrows_compares_and_reads(stack, stocked, open_page):
    page = open_page()
    page.goto("/")
    page.get_by_role("searchbox").fill("invoices")
    page.wait_for_url(re.compile("q=invoices"))
    page.get_by_role("link", name="Payments", exact=True).first.wait_for()
    page.goto("/")
    page.get_by_label("Filters").get_by_role("link", name=re.compile("MCP registry")).click()
    page.wait_for_url(re.compile("source=official"))
    page.get_by_role("link", name="Mail", exact=True).wait_for()
    assert page.get_by_role("link", name="Payments", exact=True).count() == 0
    page.get_by_role("navigation", name="Active filters").get_by_role(
        "link", name=re.compile("Source: MCP registry")
    ).click()
    page.get_by_role("link", name="Payments", exact=True).first.wait_for()
    page.get_by_role("checkbox", name="Compare Payments").first.check()
    page.get_by_role("checkbox", name="Compare Mail").check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(re.compile("/compare/"))
    page.get_by_role("rowheader", name="refund_invoice").wait_for()
    page.get_by_role("link", name="Tools", exact=True).click()
    page.get_by_role("link", name="send_mail").first.wait_for()


def test_the_page_of_a_server_answers_tab_by_tab(stack, stocked, open_page):
    page = open_page()
    page.goto("/servers/payments/")
    tabs = page.get_by_role("navigation", name="About this server")
    tabs.get_by_role("link", name=re.compile("^Install")).click()
    page.get_by_role("heading", name="Claude Code").wait_for()
    page.get_by_role("navigation", name="Client", exact=True).get_by_role("link", name="Codex CLI").click()
    page.get_by_text("[mcp_servers.payments]").wait_for()
    page.get_by_role("navigation", name="Way to the server").get_by_role("link", name=re.compile("OAuth")).click()
    page.get_by_text("codex mcp login payments").wait_for()
    page.goto("/servers/mail/?tab=versions")
    page.get_by_text("1 tool added, 0 removed, 1 changed").wait_for()


def test_a_copied_snippet_is_what_stands_there(stack, stocked, open_page):
    page = open_page()
    page.goto("/servers/payments/?tab=install&client=cursor")
    page.get_by_role("button", name="Copy", exact=True).first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert '"mcpServers"' in copied
    assert "/mcp/payments" in copied


def test_the_catalog_works_without_javascript(stack, stocked, chromium):
    context = chromium.new_context(base_url=stack.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/?source=official")
    page.get_by_role("checkbox", name="Compare Mail").check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(re.compile("s=mail"))
    page.goto("/tools/?q=send_mail")
    page.get_by_role("link", name="send_mail").first.wait_for()
    page.goto("/servers/mail/?tab=install")
    page.get_by_role("navigation", name="Client", exact=True).get_by_role("link", name="VS Code").click()
    page.get_by_text('"servers"').first.wait_for()
    context.close()


TABS = ("overview", "tools", "install", "access", "security", "versions", "usage", "audit")


def test_no_text_of_a_stranger_runs_loads_or_leads_astray(stack, stocked, chromium, open_page):
    page = open_page(state=state_of(chromium, stack, "alice@acme.example"))
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url) if not request.url.startswith(stack.url) else None)
    page.on("dialog", lambda dialog: elsewhere.append(dialog.message))
    paths = [f"/servers/evil/?tab={tab}" for tab in TABS]
    paths += [f"/servers/evil/?tab=install&way=direct-{number}" for number in range(1, 5)]
    paths += ["/?q=evil", "/tools/?q=tool_1", "/compare/?s=evil&s=mail", "/servers/evil/status/"]
    for path in paths:
        page.goto(path)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        page.wait_for_timeout(100)
        assert page.evaluate("window.__ran") is None, path
        links = page.eval_on_selector_all(
            "a[href]", "all => all.map((each) => each.getAttribute('href').trim().toLowerCase())"
        )
        assert [link for link in links if re.match(r"(javascript|data|vbscript):", link)] == [], path
        assert (
            page.locator("main script, main iframe, main object, main base, main style, main img[src^=http]").count()
            == 0
        )
    assert elsewhere == []
    assert len(CORPUS) >= 50


def test_a_private_listing_is_its_organisations_alone(stack, stocked, chromium, open_page):
    page = open_page(state=state_of(chromium, stack, "alice@acme.example"))
    page.goto("/?q=inside")
    page.get_by_role("link", name="Inside tool of acme").first.wait_for()
    page.goto("/servers/inside/")
    page.get_by_role("heading", name="Inside tool of acme").wait_for()
    stranger = open_page()
    for path in ("/?q=inside", "/tools/?q=inside_only", "/compare/?s=inside", "/suggest/?q=inside"):
        stranger.goto(path)
        assert "Inside tool of acme" not in stranger.content(), path
    assert stranger.goto("/servers/inside/").status == 404


PAGES = {
    "catalog-home": "/",
    "catalog-results": "/?source=official",
    "catalog-nothing": "/?q=zzzzqqqq",
    "catalog-tools": "/tools/",
    "catalog-compare": "/compare/?s=payments&s=mail&s=text",
    "catalog-compare-empty": "/compare/",
    "catalog-server": "/servers/mail/",
    "catalog-server-long": "/servers/long/",
    "catalog-install": "/servers/mail/?tab=install&way=direct-2&client=vs-code",
    "catalog-versions": "/servers/mail/?tab=versions",
    "catalog-audit": "/servers/payments/?tab=audit",
    "catalog-usage": "/servers/payments/?tab=usage",
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_every_page_of_the_catalog_fits_and_has_no_fault_that_axe_can_find(
    stack, stocked, chromium, open_page, shoot, theme, width
):
    page = open_page(theme, width, state_of(chromium, stack, "alice@acme.example"))
    faults = {}
    for name, path in PAGES.items():
        page.goto(path)
        shoot(page, name, theme, width)
        if width > 1000:
            faults[name] = axe_faults(page)
    assert {name: found for name, found in faults.items() if found} == {}
