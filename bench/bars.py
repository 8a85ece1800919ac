"""What must be reached, in one place; a report says of each whether it was met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RATIO, RATIO_STRETCH = 0.30, 0.45
P99_MS = 12.0  # with every connection busy, at 32 of them
ADDED_MS = {"p50": 1.5, "p99": 8.0}  # to a direct call, at a moderate rate
# Between a tenth and nine tenths of a long run: more is a leak, less is the allocator's noise.
GROWTH = 0.05
LINEAR = 1.15  # processor time per call of two processes, as a share of that of one
# At 25,000 servers and 100,000 tools.
SEARCH_MS, PAGE_MS = 60.0, 150.0
# At 100 grants and 500 tools; from the commit until a gateway has taken the entry in.
DECISION_US, REVOCATION_MS = 50.0, 1_000.0
# Money: calls of a closed month, a close while others write, and the invoices of 1,000 organisations.
RATED_PER_SECOND, CLOSE_S, INVOICE_RUN_S = 50_000.0, 1.0, 120.0
IMPORTED_PER_SECOND, UNCHANGED_S = 2_000.0, 30.0


@dataclass(frozen=True)
class Bar:
    """One requirement with what was measured. `at_least` says on which side of `bound` is good."""

    name: str
    value: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def lines(bars: Sequence[Bar]) -> str:
    """One line per bar: what it is, what was measured, the bar, met or not."""
    shown = []
    for bar in bars:
        sign = "≥" if bar.at_least else "≤"
        unit = f" {bar.unit}" if bar.unit else ""
        verdict = "met" if bar.is_met else "NOT MET"
        shown.append(f"{bar.name:<34}{bar.value:>10.3f}{unit:<4} {sign} {f'{bar.bound:g}{unit}':<8} {verdict}")
    return "\n".join(shown)
