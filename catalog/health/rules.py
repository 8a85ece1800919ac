"""What follows from checks. Pure: outcomes and moments in, states and shares out.

One odd check changes nothing: the shown state is the middle one of the last three. So it takes two bad checks of three to
leave "ready", two good ones to come back, and two that agree always prevail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from catalog.choices import Health

WINDOW = 3
CERTIFICATE_LEFT = timedelta(days=14)
# A round in which this share of many hosts fails says more about our own network than about them.
DOUBT_SHARE = 0.8
DOUBT_HOSTS = 10
_ORDER = {Health.READY.value: 0, Health.DEGRADED.value: 1, Health.DOWN.value: 2}


def damped(shown: str, outcomes: Sequence[str]) -> str:
    """The state to show after `outcomes`, the latest last. What is not known of the window is taken to be as shown.

    `shown` is unknown when there was nothing to show, or nothing fresh: then what there is decides, the milder of two.
    Checks that failed by themselves say nothing and are left out.
    """
    known = [each for each in outcomes if each in _ORDER][-WINDOW:]
    if shown in _ORDER:
        known = [shown] * (WINDOW - len(known)) + known
    if not known:
        return Health.UNKNOWN
    return sorted(known, key=_ORDER.__getitem__)[(len(known) - 1) // 2]


def order_of(state: str) -> int:
    """The worse, the higher; what is not known is below everything."""
    return _ORDER.get(state, -1)


def is_bad(state: str) -> bool:
    return _ORDER.get(state, 0) > 0


def is_worse(state: str, than: str) -> bool:
    return _ORDER.get(state, 0) > _ORDER.get(than, 0)


def is_doubtful(hosts: dict[str, bool], before: dict[str, bool]) -> bool:
    """Whether a round tells of our own network: nearly every host failed (False), and before that most did not."""
    failed = sum(not reached for reached in hosts.values())
    well = sum(before.get(host, True) for host in hosts)
    return len(hosts) >= DOUBT_HOSTS and failed >= DOUBT_SHARE * len(hosts) and well > len(hosts) / 2


def certificate_ends_soon(ends_at: datetime | None, now: datetime) -> bool:
    return ends_at is not None and ends_at - now < CERTIFICATE_LEFT


@dataclass(frozen=True, slots=True)
class Uptime:
    """The share of checks that were answered, out of those that were made. Not knowing is neither up nor down."""

    checks: int
    answered: int

    @property
    def percent(self) -> float | None:
        """Cut, not rounded, to two places: 100 means that not one check failed."""
        return math.floor(self.answered * 10_000 / self.checks) / 100 if self.checks else None


def percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest value that at least this share of the values does not exceed. `values` are sorted."""
    return values[max(math.ceil(len(values) * share) - 1, 0)] if values else None


def state_of_day(ready: int, degraded: int, down: int) -> str:
    """How a day is drawn: the worst state that more than one check found, so that one odd check colours no day."""
    if down > 1 or (down and not ready + degraded):
        return "down"
    if degraded > 1 or (degraded and not ready):
        return "degraded"
    return "ok" if ready + degraded + down else "unknown"
