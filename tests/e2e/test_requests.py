"""Asking for access in a browser and giving it from the mail; every page of it in both themes and widths."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import THEMES, WIDTHS
from tests.e2e.furnish import log_in
from tests.e2e.test_main_path import axe_faults

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]

REASON = "Refunds of the October invoices, until the audit is over"


def ask(page) -> str:
    """bob asks on the page of the server, and lands on his request."""
    page.goto("/servers/payments/?tab=access")
    page.get_by_role("main").get_by_role("link", name=re.compile("access")).last.click()
    page.get_by_role("checkbox", name=re.compile("refund_invoice")).check()
    page.get_by_label("What for").fill(REASON)
    page.get_by_role("button", name="Request access").click()
    page.get_by_role("heading", name="Access to Payments").wait_for()
    return page.url


def link_of_the_mail(page) -> str:
    page.goto("/mailbox/")
    mail = page.get_by_role("listitem").filter(has_text="alice@acme.example").filter(has_text="asks for access")
    mail.first.get_by_role("link").click()
    found = re.search(r"/o/acme/requests/by-mail/[\w:.-]+", page.locator("main").inner_text())
    assert found
    return found[0]


def test_a_request_is_made_and_approved_from_the_mail(stack, open_page, shoot):
    bob, alice = open_page(), open_page()
    log_in(bob, stack, "bob@acme.example")
    log_in(alice, stack, "alice@acme.example")
    where = ask(bob)
    looks(bob, open_page, shoot, {"request-mine": where, "request-form": "/o/acme/access/request/?server=payments"})
    looks(
        alice,
        open_page,
        shoot,
        {"request-decide": where, "requests": "/o/acme/requests/", "request-rules": "/o/acme/requests/rules/"},
    )

    link = link_of_the_mail(alice)
    looks(alice, open_page, shoot, {"request-by-mail": link, "reviews": "/o/acme/requests/reviews/"})
    alice.goto(link)
    alice.get_by_role("heading", name="Approve access to Payments?").wait_for()
    alice.get_by_role("button", name="Approve").click()
    alice.get_by_text("Your decision is recorded").first.wait_for()

    bob.goto(where)
    bob.get_by_text("Holds until").wait_for()
    assert "from the mail" in bob.get_by_role("main").inner_text()
    looks(bob, open_page, shoot, {"request-approved": where})
    alice.goto(link)
    alice.get_by_text("This link was used already").wait_for()


def looks(page, open_page, shoot, pages: dict[str, str]) -> None:
    """Each page fits its window and has no fault that axe can find."""
    state = page.context.storage_state()
    for theme in THEMES:
        for width in WIDTHS:
            other = open_page(theme, width, state)
            for name, path in pages.items():
                other.goto(path)
                shoot(other, name, theme, width)
                assert axe_faults(other) == [], name


def test_asking_works_without_javascript(stack, chromium):
    context = chromium.new_context(base_url=stack.url, java_script_enabled=False)
    page = context.new_page()
    log_in(page, stack, "bob@acme.example")
    page.goto("/o/acme/access/request/?server=payments&tool=list_invoices&agent=night-shift")
    assert page.get_by_role("checkbox", name=re.compile("list_invoices")).is_checked()
    page.get_by_label("What for").fill("Nightly report")
    page.get_by_role("button", name="Request access").click()
    page.get_by_role("heading", name="Access to Payments").wait_for()
    page.get_by_role("button", name="Withdraw").click()
    page.get_by_text("The request is withdrawn").wait_for()
    context.close()
