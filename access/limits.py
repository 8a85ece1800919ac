"""Limits as gateways see them: plain values, free of Django.

A rate refills evenly and may be used up at once. A quota counts successful tool calls of a day or a month, a cap adds up their
prices; both begin again with the day or month in UTC. Prepaid credit is a cap that never begins again (`Period.EVER`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

# Money is counted in whole ten-thousand-millionths of a currency's major unit: as exact as prices are.
MONEY_SCALE = 10**10
# Beyond this, counting in doubles (Valkey's scripts) would lose the last digit.
MAX_CAP = 900_000
MAX_COUNT = 10**9  # what the column of amounts holds exactly, with the decimals of money


class LimitScope(StrEnum):
    ORGANISATION = "organisation"
    KEY = "key"
    SERVER = "server"
    TOOL = "tool"
    PROVIDER = "provider"  # the server's own limit, set by its provider


class LimitKind(StrEnum):
    RATE = "rate"
    QUOTA = "quota"
    CAP = "cap"


class Period(StrEnum):
    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    EVER = "ever"


# What people choose from.
PERIODS = (Period.SECOND, Period.MINUTE, Period.HOUR, Period.DAY, Period.MONTH)
RATE_SECONDS: dict[Period, int] = {Period.SECOND: 1, Period.MINUTE: 60, Period.HOUR: 3600, Period.DAY: 86_400}


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One limit. `key_id`, `server_id` and `tool` narrow it; of a scope `key` without a key, each key has its own."""

    limit_id: str
    name: str
    scope: LimitScope
    kind: LimitKind
    amount: int  # calls, or money by MONEY_SCALE
    period: Period
    hard: bool = True  # otherwise the call goes on and people are told
    key_id: UUID | None = None
    server_id: UUID | None = None
    tool: str = ""
    currency: str = "USD"

    def covers(self, key_id: UUID, server_id: UUID, tool: str) -> bool:
        """Whether calls with this key to this tool of this server count towards the limit."""
        return (
            self.key_id in {None, key_id}
            and self.server_id in {None, server_id}
            and (not self.tool or self.tool == tool)
        )


@dataclass(frozen=True, slots=True)
class Window:
    """A day or a month in UTC, or all time."""

    name: str
    starts_at: datetime
    ends_at: datetime


_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def window_of(period: Period, moment: datetime) -> Window:
    """The day or month that a moment falls in."""
    if period is Period.EVER:
        return Window("ever", _FIRST, _LAST)
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        return Window(f"{day:%Y-%m-%d}", day, day + timedelta(days=1))
    if period is Period.MONTH:
        first = day.replace(day=1)
        return Window(f"{first:%Y-%m}", first, (first + timedelta(days=32)).replace(day=1))
    raise ValueError(f"{period} is no window of a quota or cap")


def to_units(amount: Decimal) -> int:
    """Money as whole units. Raises ValueError when that would lose anything."""
    units = amount * MONEY_SCALE
    if units != int(units):
        raise ValueError("more decimals than money has")
    return int(units)


def from_units(units: int) -> Decimal:
    return Decimal(units) / MONEY_SCALE
