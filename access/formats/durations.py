"""Durations as Go writes them (`24h`, `1h30m`, `45s`), which is how MCP Runtime's files give them. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+\Z")
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
TEXT_MAX = 60


def parse(text: str) -> int:
    """Whole seconds, what is less is cut. Raises ValueError for anything but a duration."""
    text = text.strip()
    if len(text) > TEXT_MAX or (not text.isascii() and not any(letter in text for letter in "µμ")):
        raise ValueError("no duration")
    if text == "0":
        return 0
    if not _WHOLE.match(text):
        raise ValueError("no duration")
    total = sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(text))
    return int(total // 10**9)


def write(seconds: int) -> str:
    """The shortest way to say it: `86400` is `24h`, `5400` is `1h30m`."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
