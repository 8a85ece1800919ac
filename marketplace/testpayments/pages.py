"""The few pages that a fake provider shows to a person: no script, one style, and the word `Test payments` on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from marketplace.testpayments.wire import Answer

STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5b6776; --page: #f4f5f7; --card: #fff; --line: #ccd3db;
  --mark: #7a4b00; --note: #fff3d6; --deed: #1f5fbf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf3; --soft: #a4b0be; --page: #12161c; --card: #1b2129; --line: #3a4552;
  --mark: #ffd88a; --note: #3a2e12; --deed: #3b7ae0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
.label { background: var(--note); color: var(--mark); text-align: center; padding: .5rem 1rem; font-size: .9rem; }
main { max-width: 28rem; margin: 2rem auto; padding: 1.5rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
@media (max-width: 30rem) { main { margin: 0; border-width: 0 0 1px; border-radius: 0; } }
h1 { font-size: 1.25rem; margin: 0 0 .5rem; } p { margin: 0 0 1rem; } .soft { color: var(--soft); font-size: .9rem; }
label { display: block; font-weight: 600; margin-bottom: .25rem; font-size: .9rem; }
input { width: 100%; padding: .6rem .7rem; margin-bottom: 1rem; font: inherit; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: .375rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
button { width: 100%; padding: .65rem; font: inherit; font-weight: 600; border-radius: .375rem; border: 1px solid var(--deed);
  background: var(--deed); color: #fff; cursor: pointer; margin-bottom: .75rem; }
button.other { background: transparent; color: inherit; border-color: var(--line); }
:focus-visible { outline: 3px solid var(--deed); outline-offset: 2px; }
.error { border-left: 4px solid #c62f2f; padding: .5rem .75rem; margin-bottom: 1rem; }
table { width: 100%; border-collapse: collapse; font-size: .85rem; } td { padding: .3rem 0; border-top: 1px solid var(--line); }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap; padding-right: .75rem; }
"""
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    provider: str
    # HTML that is escaped already.
    body: str


def show(page: Page, status: int = 200) -> Answer:
    stands_for = f"This stands in for {escape(page.provider)}."
    label = f"<strong>Test payments.</strong> {stands_for} No money moves; never enter a real card."
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{escape(page.title)} - test payments</title><link rel="stylesheet" href="/hosted/style.css"></head>'
        f'<body><div class="label">{label}</div><main><h1>{escape(page.title)}</h1>{page.body}</main></body></html>'
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": _POLICY,
        "cache-control": "no-store",
    }
    return Answer(
        status, text.encode(), {**headers, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
    )


def style() -> Answer:
    return Answer(200, STYLE.encode(), {"content-type": "text/css"})


def go(url: str) -> Answer:
    return Answer(303, b"", {"location": url})


def buttons(*choices: tuple[str, str]) -> str:
    """One form with a button for each (value, words); the first is the main one."""
    made = [
        f'<button name="choice" value="{escape(value)}"{"" if at == 0 else " class=other"}>{escape(words)}</button>'
        for at, (value, words) in enumerate(choices)
    ]
    return f'<form method="post">{"".join(made)}</form>'


def table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(left)}</td><td>{escape(right)}</td></tr>" for left, right in rows)
    return f"<table>{cells}</table>"
