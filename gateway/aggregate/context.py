"""How much of a model's context a list takes, and how much it would have taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.mcp import lossless

# Definitions are English and JSON; common tokenisers need about a token for four bytes of them.
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Saved:
    form: str
    available: int
    available_bytes: int
    listed: int
    listed_bytes: int

    def as_json(self) -> dict[str, Any]:
        tokens, spent = self.available_bytes // BYTES_PER_TOKEN, self.listed_bytes // BYTES_PER_TOKEN
        return {
            "form": self.form,
            "toolsAvailable": self.available,
            "toolsListed": self.listed,
            "bytesAvailable": self.available_bytes,
            "bytesListed": self.listed_bytes,
            "estimatedTokensAvailable": tokens,
            "estimatedTokensListed": spent,
            "estimatedTokensSaved": max(tokens - spent, 0),
        }


def estimate(value: Any) -> int:
    """Bytes of a value as JSON."""
    return len(lossless.dumps(value))
