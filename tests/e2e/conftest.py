"""The running product and a real browser in front of it.

One stack serves all browser tests of a worker. Chromium is closed after each module: its driver keeps an event loop on the
thread, and Django refuses to touch the database beside one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import RunningStack, data_folder, running_stack

ARTEFACTS = Path(__file__).resolve().parents[2] / "artifacts" / "screenshots"
THEMES = ("light", "dark")
WIDTHS = (360, 1280)
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    with data_folder() as data, running_stack(data) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    reason = os.environ.get("MARKETPLACE_NO_BROWSER")
    executable = shutil.which("chromium")
    if reason or executable is None:
        pytest.skip(reason or "Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield browser
        browser.close()


class Faults:
    """What a page must never do: throw, log an error, break the content policy, or fetch from elsewhere."""

    def __init__(self, page) -> None:
        self.seen: list[str] = []
        page.on("pageerror", lambda error: self.seen.append(f"exception: {error}"))
        page.on("console", self._console)
        page.on("response", self._response)

    def _console(self, message) -> None:
        expected = "Failed to load resource" in message.text
        if message.type == "error" and not expected:
            self.seen.append(f"console: {message.text}")

    def _response(self, response) -> None:
        if response.status >= 500:
            self.seen.append(f"{response.status}: {response.url}")


@pytest.fixture
def open_page(chromium, stack) -> Iterator:
    """`open_page(theme, width)` gives a page of a fresh visitor; its faults fail the test at the end."""
    contexts, faults = [], []

    def _open(theme: str = "light", width: int = 1280, state: dict | None = None):
        context = chromium.new_context(
            base_url=stack.url,
            color_scheme=theme,
            viewport={"width": width, "height": 800},
            storage_state=state,
            permissions=["clipboard-read", "clipboard-write"],
            reduced_motion="reduce",
        )
        context.set_default_timeout(15_000)
        page = context.new_page()
        contexts.append(context)
        faults.append(Faults(page))
        return page

    yield _open
    for context in contexts:
        context.close()
    assert [fault for each in faults for fault in each.seen] == []


def keep_screenshot(page, name: str, theme: str, width: int) -> Path:
    """Keep a screenshot of the whole page as an artefact, and hold the page against its width."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    path = ARTEFACTS / f"{name}-{theme}-{width}.png"
    page.screenshot(path=path, full_page=True)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{name} is {overflow} px wider than a window of {width} px"
    return path


@pytest.fixture
def shoot():
    return keep_screenshot


def code_from_mailbox(page, address: str) -> str:
    """The newest verification code sent to an address, read where a developer reads it: on the mailbox page."""
    page.goto("/mailbox/")
    page.get_by_role("listitem").filter(has_text=address).first.get_by_role("link").click()
    body = page.locator("main").inner_text()
    match = re.search(r"^\s*([A-Z0-9]{3,4}-?[A-Z0-9]{3,4})\s*$", body, re.MULTILINE)
    assert match, f"no code in the mail to {address}: {body}"
    return match[1]
