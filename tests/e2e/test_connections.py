"""Connections in a real browser, without JavaScript that they would need: stored, tested, shown, removed."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import THEMES, WIDTHS
from tests.e2e.test_main_path import found_organisation, sign_up

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("stack")]

SECRET = "e2e-canary-of-a-token"


def test_an_admin_stores_tests_and_removes_what_a_server_asks_for(open_page, shoot):
    page = open_page()
    sign_up(page, "connections@hopper.example")
    found_organisation(page, "Hopper Connections")
    page.goto("/o/hopper-connections/connections/")
    page.get_by_role("main").get_by_role("link", name="Add a connection").first.click()
    page.get_by_label("Server", exact=True).select_option("payments")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Token", exact=True).fill(SECRET)
    page.get_by_role("button", name="Store").click()
    page.get_by_role("button", name="Test", exact=True).click()
    page.get_by_text("let it through").first.wait_for()

    assert SECRET not in page.content()
    state = page.context.storage_state()
    for theme in THEMES:
        for width in WIDTHS:
            other = open_page(theme, width, state)
            for name, path in (
                ("connections", "connections/"),
                ("connection-create", "connections/new/?server=payments"),
            ):
                other.goto(f"/o/hopper-connections/{path}")
                shoot(other, name, theme, width)

    page.get_by_role("link", name="Remove").or_(page.get_by_role("button", name="Remove", exact=True)).first.click()
    page.get_by_role("button", name="Remove connection").click()
    page.get_by_text("No connections yet").wait_for()
