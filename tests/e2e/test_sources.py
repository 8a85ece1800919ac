"""Sources in a browser: an operator adds a registry to the shared catalog, an organisation one of its own, and who sees what."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import THEMES, WIDTHS
from tests.e2e.furnish import become_operator, log_in
from tests.e2e.test_main_path import axe_faults
from tests.support.registries import make_row, running_registry, sample_rows
from tests.support.stack import data_folder, running_stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.xdist_group("sources")]


@pytest.fixture(scope="module")
def registry():
    poisoned = make_row("<script>alert(1)</script>")
    with running_registry([*sample_rows(30), poisoned]) as running:
        yield running


@pytest.fixture(scope="module")
def stack(registry):
    allow = {"MARKETPLACE_EGRESS_ALLOW": f"127.0.0.1:{registry.port}"}
    with data_folder() as data, running_stack(data, environment=allow) as running:
        yield running


def fill_in(page, registry, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Address").fill(registry.url)
    page.get_by_role("button", name="Add the source").click()
    page.get_by_role("heading", name="Last reading", exact=True).wait_for(timeout=60_000)


def test_an_operator_and_an_organisation_read_sources_of_their_own(stack, registry, open_page, shoot, chromium):
    operator = open_page()
    become_operator(operator, stack)
    operator.goto("/operations/sources/")
    operator.get_by_role("link", name="Add a source").click()
    shoot(operator, "source-form", "light", 1280)
    fill_in(operator, registry, "Community registry")
    operator.get_by_text("60 entries read").wait_for()
    operator.get_by_text("Problems of the last reading").wait_for()
    address = operator.url
    for theme in THEMES:
        for width in WIDTHS:
            page = open_page(theme, width, state=operator.context.storage_state())
            for name, url in (("source", address), ("sources", "/operations/sources/")):
                page.goto(url)
                shoot(page, name, theme, width)
                assert axe_faults(page) == []

    visitor = open_page()
    visitor.goto("/?q=server-007")
    visitor.get_by_role("link", name=re.compile("server-007")).first.wait_for()


def test_a_private_source_of_an_organisation_is_found_by_its_people_only(stack, registry, open_page, shoot):
    alice = open_page()
    log_in(alice, stack, "alice@acme.example")
    alice.goto("/o/acme/sources/")
    alice.get_by_role("link", name="Add a source").click()
    # An organisation adds what it vouches for; the operators' source above is one that nobody vouches for.
    alice.get_by_label("Trust level").select_option(label="Enterprise: our organisation vouches for it")
    fill_in(alice, registry, "Our registry")
    shoot(alice, "source-of-organisation", "light", 1280)
    assert axe_faults(alice) == []
    alice.goto("/?q=server-007&source=official")
    assert alice.get_by_role("link", name=re.compile("server-007")).count() >= 1
