"""Months of UTC, half-open: what ends one begins the next. Nobody's time zone moves a call from one bill to another."""

from __future__ import annotations

from datetime import UTC, date, datetime


def month_of(moment: datetime) -> date:
    """The first day of the month that a moment falls in. Raises ValueError for a moment without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs its zone")
    return moment.astimezone(UTC).date().replace(day=1)


def following(month: date) -> date:
    return date(month.year + 1, 1, 1) if month.month == 12 else date(month.year, month.month + 1, 1)


def bounds(month: date) -> tuple[datetime, datetime]:
    """The first moment of a month and the first one after it."""
    first = month.replace(day=1)
    return _midnight(first), _midnight(following(first))


def number_of(month: date) -> int:
    """Such as 202611: the id of the period of that month in every organisation."""
    return month.year * 100 + month.month


def from_number(number: int) -> date:
    """Raises ValueError for what is no month."""
    return date(number // 100, number % 100, 1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
