"""What is asked and what is let pass, as values: their digest, and what "less" means. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from access.types import SideEffect, Trust
from core.errors import InvalidError

HOURS_MAX = 24 * 366


@dataclass(frozen=True, slots=True)
class Terms:
    """The size of a right: which tools (none: every one), up to which trust, with which side effects, for how many hours."""

    tools: tuple[str, ...]
    max_trust: str
    side_effects: tuple[str, ...]
    duration_h: int

    @classmethod
    def of(cls, tools: Iterable[str], max_trust: str, side_effects: Iterable[str], duration_h: int) -> Self:
        """Raises InvalidError for an unknown word and for a time out of range."""
        effects = tuple(sorted(set(side_effects)))
        if max_trust not in {trust.word for trust in Trust}:
            raise InvalidError("Trust is low, medium or high.", code="access.trust_unknown", field="max_trust")
        if not effects or not set(effects) <= set(SideEffect):
            raise InvalidError(
                "Choose at least one of read, write and destructive.",
                code="access.side_effect_unknown",
                field="side_effects",
            )
        if not 1 <= duration_h <= HOURS_MAX:
            raise InvalidError(
                f"Access is asked for 1 to {HOURS_MAX} hours.", code="access.duration_out_of_range", field="duration_h"
            )
        return cls(tuple(sorted(set(tools))), max_trust, effects, duration_h)

    @classmethod
    def stored(cls, data: Mapping[str, Any]) -> Self:
        return cls.of(data["tools"], data["max_trust"], data["side_effects"], data["duration_h"])

    def as_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def within(self, wider: Terms) -> bool:
        """Whether this gives nothing that the other does not."""
        return (
            (not wider.tools or (bool(self.tools) and set(self.tools) <= set(wider.tools)))
            and Trust.parse(self.max_trust) <= Trust.parse(wider.max_trust)
            and set(self.side_effects) <= set(wider.side_effects)
            and self.duration_h <= wider.duration_h
        )


def narrowed(asked: Terms, approved: Sequence[Terms]) -> Terms:
    """What is left after every approval: each may let pass less than those before it, never more."""
    return approved[-1] if approved else asked


def digest(facts: Mapping[str, Any]) -> str:
    """What an approval is bound to: SHA-256 of everything that is asked, in one spelling."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
