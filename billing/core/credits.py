"""How a credit splits: into the provider's part, the platform's, and tax. Pure, in integer minor units.

Each part is what the whole gives for all that is credited so far, less what it gave before. So rounding never adds up: whatever
the steps, the last cent of a line brings the last cent of its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from billing.core.shares import part as part_of


@dataclass(frozen=True, slots=True)
class Whole:
    """An invoice: net and tax, and how much of the net earlier notes have credited."""

    net_minor: int
    tax_minor: int
    credited_minor: int


@dataclass(frozen=True, slots=True)
class Credited:
    """A line, what earlier notes took of it, and what this one takes. Lines that lower an invoice are credited below zero."""

    line_minor: int
    provider_minor: int
    done_minor: int
    minor: int


@dataclass(frozen=True, slots=True)
class Part:
    minor: int
    provider_minor: int
    tax_minor: int


def split_credit(whole: Whole, lines: Sequence[Credited]) -> list[Part]:
    """The parts of each line's credit, in order. Raises ValueError when more is asked than is left."""
    parts, done = [], whole.credited_minor
    total = done + sum(line.minor for line in lines)
    if not _is_within(total, whole.net_minor):
        raise ValueError("This is more than the invoice has left")
    for line in lines:
        after = line.done_minor + line.minor
        if line.minor * line.line_minor <= 0 or not _is_within(after, line.line_minor):
            raise ValueError("This is more than the line has left")
        parts.append(
            Part(
                minor=line.minor,
                provider_minor=_part(line.provider_minor, line.done_minor, line.minor, line.line_minor),
                tax_minor=_part(whole.tax_minor, done, line.minor, whole.net_minor),
            )
        )
        done += line.minor
    return parts


def _part(whole: int, done: int, step: int, total: int) -> int:
    """`shares.part` for totals of either sign."""
    if not total:
        return 0
    sign = 1 if total > 0 else -1
    return part_of(whole, sign * done, sign * step, sign * total)


def _is_within(value: int, limit: int) -> bool:
    return 0 <= value <= limit if limit >= 0 else limit <= value <= 0
