"""The choices that people make when they give access, in their words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from access.types import SideEffect, Trust
from core import clock


@dataclass(frozen=True, slots=True)
class Level:
    """What a key may call, as one choice."""

    label: str
    trust: Trust
    side_effects: tuple[SideEffect, ...]


LEVELS: dict[str, Level] = {
    "read": Level("Tools that only read and need low trust", Trust.LOW, (SideEffect.READ,)),
    "write": Level("Tools that read or write, up to medium trust", Trust.MEDIUM, (SideEffect.READ, SideEffect.WRITE)),
    "all": Level("Every tool, destructive ones included, up to high trust", Trust.HIGH, tuple(SideEffect)),
}
DEFAULT_LEVEL = "read"

EXPIRIES = [("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"), ("none", "Never")]
DEFAULT_EXPIRY = "90"

EFFECT_CHOICES = [
    (SideEffect.READ.value, "Read: looks, changes nothing"),
    (SideEffect.WRITE.value, "Write: adds or changes things"),
    (SideEffect.DESTRUCTIVE.value, "Destructive: removes things or moves money; cannot be undone"),
]
TRUST_LABELS = [
    (Trust.LOW.word, "Low: harmless requests only"),
    (Trust.MEDIUM.word, "Medium: what a careful colleague may do"),
    (Trust.HIGH.word, "High: everything the server offers"),
]


def expiry(choice: str) -> datetime | None:
    """The moment that a choice of EXPIRIES means."""
    return None if choice == "none" else clock.now() + timedelta(days=int(choice))
