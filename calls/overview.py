"""The numbers above the call log: computed when asked, and kept for a while only when they were costly.

A small organisation always sees the present. A large one, whose numbers take long, sees numbers as old as twenty times what they
took, so that looking at a page that refreshes itself never costs more than a twentieth of a core.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import redis
from django.core.cache import cache

from calls import selectors
from calls.charts import Period, Series, series
from calls.selectors import CallFilter, Spend, Totals
from core import clock
from tenants.context import connection

SPEND_PERIOD = timedelta(days=30)
_KEPT_PER_COST = 20
_CHEAP_MS = 50.0
_KEPT_S_MAX = 120.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Overview:
    measured_at: datetime
    totals: Totals
    series: Series
    spend: list[Spend]

    @property
    def allowed_share(self) -> float | None:
        """In percent; None when there was no call."""
        return 100 * self.totals.allowed / self.totals.calls if self.totals.calls else None


def overview(wanted: CallFilter, period: Period) -> Overview:
    """The numbers of a period for the active organisation."""
    key = _cache_key(wanted, period)
    known: Overview | None = _recall(key)
    if known is not None:
        return known
    began = clock.monotonic_ms()
    now = clock.now()
    found = Overview(
        measured_at=now,
        totals=selectors.totals(wanted),
        series=series(period, wanted.since, selectors.totals_by_step(wanted, period.step)),
        spend=selectors.spend(
            replace(wanted, since=now - SPEND_PERIOD),
            midnight=now.replace(hour=0, minute=0, second=0, microsecond=0),
        ),
    )
    _keep(key, found, cost_ms=clock.monotonic_ms() - began)
    return found


def _cache_key(wanted: CallFilter, period: Period) -> str:
    """Names the organisation's schema: numbers of one are never shown to another."""
    asked = f"{connection.schema_name}|{wanted!r}|{period!r}"
    return "calls-overview:" + hashlib.sha256(asked.encode()).hexdigest()


def _recall(key: str) -> Overview | None:
    try:
        return cache.get(key)
    except redis.RedisError:
        return None


def _keep(key: str, found: Overview, *, cost_ms: float) -> None:
    if cost_ms <= _CHEAP_MS:
        return
    try:
        cache.set(key, found, timeout=min(cost_ms * _KEPT_PER_COST / 1000, _KEPT_S_MAX))
    except redis.RedisError:
        log.warning("overview not kept", exc_info=True)
