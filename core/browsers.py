"""A browser's name for itself, in words that its owner recognises."""

from __future__ import annotations

import re

# Browsers name their ancestors too, so the more particular name comes first.
_BROWSERS = (
    ("Edge", r"Edg(?:A|iOS)?/(\d+)"),
    ("Opera", r"OPR/(\d+)"),
    ("Firefox", r"(?:Firefox|FxiOS)/(\d+)"),
    ("Chrome", r"(?:Headless)?(?:Chrome|CriOS)/(\d+)"),
    ("Safari", r"Version/(\d+)\S* (?:Mobile\S* )?Safari/"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("macOS", "Mac OS X"),
    ("ChromeOS", "CrOS"),
    ("Linux", "Linux"),
)
_SHOWN_CHARS = 80


def describe_browser(user_agent: str) -> str:
    """Such as "Firefox 140 on Linux". A name that is not known is shown as it came, cut to 80 characters."""
    found = ((name, match[1]) for name, pattern in _BROWSERS if (match := re.search(pattern, user_agent)))
    browser = next(found, None)
    if browser is None:
        return user_agent[:_SHOWN_CHARS] or "Unknown browser"
    system = next((name for name, mark in _SYSTEMS if mark in user_agent), "")
    return f"{browser[0]} {browser[1]}" + (f" on {system}" if system else "")
