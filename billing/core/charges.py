"""What a subscription costs on the invoice of a month: the month that follows in advance, and parts of this month for changes.

An upgrade costs the difference between the two plans for the rest of the month. Nothing is given back, because whoever goes
down or leaves does so at the end of a month that is paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from billing.core.proration import portion


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time (half-open, `ends_at` None: without an end) on the terms of a plan; `minor` is the price of a month."""

    id: UUID
    plan_version_id: UUID
    name: str
    minor: int
    starts_at: datetime
    ends_at: datetime | None

    def covers(self, moment: datetime) -> bool:
        return self.starts_at <= moment and (self.ends_at is None or moment < self.ends_at)


@dataclass(frozen=True, slots=True)
class PlanCharge:
    """One line: `kind` is subscription or proration. The same `key` is never charged twice."""

    key: str
    kind: str
    plan_version_id: UUID
    label: str
    starts_at: datetime
    ends_at: datetime
    minor: int


def of_month(
    stretches: Sequence[Stretch], month: tuple[datetime, datetime], following: tuple[datetime, datetime]
) -> list[PlanCharge]:
    """The lines of a month's invoice, changes first. `stretches` are in order and do not overlap."""
    start, end = month
    charges = []
    for place, stretch in enumerate(stretches):
        if start < stretch.starts_at < end:
            before = stretches[place - 1] if place and stretches[place - 1].ends_at == stretch.starts_at else None
            charges += _change(stretch, before, month)
    # Who is there when the month ends pays the month that follows, whatever is chosen in it later.
    held = next((each for each in stretches if each.covers(end)), None)
    if held is not None and held.minor:
        label = f"{held.name}, {end:%B %Y}"
        key = f"plan:{held.id}:{end:%Y-%m}"
        charges.append(PlanCharge(key, "subscription", held.plan_version_id, label, *following, held.minor))
    return charges


def key_of_change(stretch_id: UUID) -> str:
    """What a plan that began within a month is charged under."""
    return f"plan:{stretch_id}:start"


def _change(stretch: Stretch, before: Stretch | None, month: tuple[datetime, datetime]) -> list[PlanCharge]:
    rest = (stretch.starts_at, month[1])
    minor = portion(stretch.minor, month, rest) - (portion(before.minor, month, rest) if before else 0)
    if minor <= 0:
        return []
    what = f"{stretch.name} instead of {before.name}" if before and before.minor else stretch.name
    label = f"{what}, from {stretch.starts_at:%d %B %Y}"
    key = key_of_change(stretch.id)
    return [PlanCharge(key, "proration", stretch.plan_version_id, label, *rest, minor)]
