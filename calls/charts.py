"""From counted calls to what tiles and charts draw. Pure: numbers and a moment in, labelled points out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from calls.selectors import Totals

SERIES = ("ok", "failed", "refused")


@dataclass(frozen=True, slots=True)
class Period:
    """How far back people look, in how many steps; `label` stands in "in the last …"."""

    label: str
    step: timedelta
    steps: int

    def begins(self, now: datetime) -> datetime:
        """The first moment, on a whole step, so that bars do not wander while one looks at them."""
        now = now.astimezone(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        into = (now - midnight) // self.step * self.step
        return midnight + into - self.step * (self.steps - 1)


PERIODS: dict[str, Period] = {
    "1h": Period("hour", timedelta(minutes=2), 30),
    "24h": Period("24 hours", timedelta(hours=1), 24),
    "7d": Period("7 days", timedelta(hours=6), 28),
    "30d": Period("30 days", timedelta(days=1), 30),
}
DEFAULT_PERIOD = "24h"


@dataclass(frozen=True, slots=True)
class Series:
    """One value a step, oldest first. Latency and share (percent) are None where nothing was called: unknown, not zero."""

    bars: list[tuple[str, list[int]]]
    calls: list[int]
    allowed_share: list[float | None]
    median_ms: list[float | None]


def series(period: Period, begins: datetime, found: Mapping[datetime, Totals]) -> Series:
    moments = [begins + period.step * index for index in range(period.steps)]
    rows = [found.get(moment, Totals()) for moment in moments]
    return Series(
        bars=[
            (_label(period, moment), [row.ok, row.failed, row.denied])
            for moment, row in zip(moments, rows, strict=True)
        ],
        calls=[row.calls for row in rows],
        allowed_share=[_share(row) for row in rows],
        median_ms=[round(row.median_ms, 1) if row.median_ms is not None else None for row in rows],
    )


def _share(row: Totals) -> float | None:
    return round(100 * row.allowed / row.calls, 1) if row.calls else None


def _label(period: Period, moment: datetime) -> str:
    if period.step >= timedelta(days=1):
        return f"{moment:%-d %b}"
    return f"{moment:%H:%M}" if period.step * period.steps <= timedelta(days=1) else f"{moment:%-d %b %H:%M}"
