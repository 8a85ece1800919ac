"""What proves what happened, in a browser: webhooks, decisions, the log and its checkpoints, an operator's look."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import THEMES, WIDTHS
from tests.e2e.furnish import become_operator, log_in
from tests.e2e.test_main_path import axe_faults, in_thread, use_server
from tests.support.gateways import serving
from tests.support.stack import data_folder, running_stack
from tests.support.webhook_receivers import Receiver

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("proof")]


@pytest.fixture(scope="module")
def receiver():
    found = Receiver(statuses=[503])
    with serving(found) as found.port:
        yield found


@pytest.fixture(scope="module")
def stack(receiver):
    allow = {"MARKETPLACE_EGRESS_ALLOW": f"127.0.0.1:{receiver.port}"}
    with data_folder() as data, running_stack(data, environment=allow) as running:
        yield running


def show(open_page, shoot, state, pages: dict[str, str]) -> None:
    """Each page in both themes and widths, kept as a picture and held against axe."""
    faults = {}
    for theme in THEMES:
        for width in WIDTHS:
            page = open_page(theme, width, state)
            for name, path in pages.items():
                page.goto(path)
                shoot(page, name, theme, width)
                faults[f"{name} {theme}"] = axe_faults(page)
    assert {name: found for name, found in faults.items() if found} == {}


def test_a_system_of_the_organisation_hears_signed_and_the_log_shows_it(stack, receiver, open_page, shoot):
    alice = open_page()
    log_in(alice, stack, "alice@acme.example")
    alice.goto("/o/acme/settings/")
    alice.get_by_role("main").get_by_role("link", name="Webhooks").click()
    alice.get_by_role("link", name="Add a webhook").first.click()
    alice.locator("#id_name").fill("Case system")
    alice.locator("#id_url").fill(receiver.url)
    alice.get_by_role("button", name="Add the webhook").click()
    secret = re.search(r"whsec_[\w+/=]+", alice.locator("main").inner_text())[0]
    alice.get_by_role("link", name="I have stored it").click()
    for _ in range(2):
        alice.get_by_role("button", name="Send a test").click()
    alice.get_by_text("A test is on its way").wait_for()
    for _ in range(40):
        if len(receiver.got) >= 2:
            break
        alice.wait_for_timeout(500)
    alice.reload()
    alice.get_by_text("Delivered").first.wait_for()

    assert all(message.is_signed_with(secret) for message in receiver.got)
    pages = {"webhooks": "/o/acme/settings/webhooks/", "webhook": alice.url.partition("#")[0]}
    pages |= {"webhook-create": "/o/acme/settings/webhooks/new/"}
    show(open_page, shoot, alice.context.storage_state(), pages)


def test_decisions_are_found_by_their_reason_and_the_log_is_proven(stack, open_page, shoot):
    in_thread(use_server(stack, stack.demo["MARKETPLACE_API_KEY"], "auto"))
    alice = open_page()
    log_in(alice, stack, "alice@acme.example")
    alice.goto("/o/acme/audit/")
    alice.get_by_role("button", name="Verify the chain").click()
    alice.get_by_text("The chain holds").wait_for()
    alice.get_by_role("link", name="Decisions", exact=True).click()
    alice.locator("select[name=decision]").select_option("deny")
    alice.get_by_role("button", name="Filter").click()
    alice.get_by_role("link", name="refund_invoice").first.wait_for()
    with alice.expect_download() as started:
        alice.get_by_role("link", name="CSV", exact=True).click()
    text = started.value.path().read_text()

    assert "refund_invoice" in text
    assert "list_invoices" not in text
    pages = {"decisions": "/o/acme/audit/decisions/?period=24h", "audit-log": "/o/acme/audit/"}
    show(open_page, shoot, alice.context.storage_state(), pages)


def test_an_operator_looks_for_a_reason_and_the_owner_ends_it(stack, open_page, shoot):
    olga = open_page()
    become_operator(olga, stack)
    olga.goto("/operations/records/")
    olga.locator("#id_organisation").select_option(label="Acme")
    olga.locator("#id_reason").fill("A caller of theirs reports refusals that nobody explains")
    olga.locator("#id_ticket").fill("4711")
    olga.get_by_role("button", name="Open records").click()
    olga.get_by_text("are open for reading").wait_for()
    olga.goto("/o/acme/calls/")
    olga.get_by_text("You look into").wait_for()
    assert olga.locator("main").bounding_box()["width"] > 900  # beside the rail, with the banner above both
    state = olga.context.storage_state()
    pages = {"elevated-calls": "/o/acme/calls/", "elevated-records": "/operations/records/"}
    show(open_page, shoot, state, pages)
    olga.goto("/admin/audit/auditevent/")
    olga.get_by_text("Reading Acme until").first.wait_for()
    shoot(olga, "elevated-admin", "light", 1280)

    alice = open_page()
    log_in(alice, stack, "alice@acme.example")
    alice.goto("/o/acme/notifications/")
    alice.get_by_text("An operator of the platform looks into").first.wait_for()
    show(open_page, shoot, alice.context.storage_state(), {"operators": "/o/acme/audit/operators/"})
    alice.goto("/o/acme/audit/operators/")
    alice.get_by_role("button", name="End now").click()
    alice.get_by_text("Ended by the organisation").wait_for()
    olga.goto("/o/acme/calls/")
    assert "You look into" not in olga.content()
