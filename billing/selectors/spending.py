"""What an organisation spends on calls in a month, by whatever people ask it by. The same computation as the invoice's.

What a line costs is the invoice's own amount. A price counts over everybody's calls, so what one key, team or day of it costs
is a part: days by what each added to the price, keys and teams in proportion to their units.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from billing.core import months
from billing.core.rated import RatedLine, by_day
from billing.core.wording import words
from billing.models import PriceVersion
from billing.services import rating
from calls.models import Period
from calls.selectors import usage
from calls.selectors.usage import Cell, PeriodUsage
from core import clock
from core.money import Money
from tenants.context import platform_scope
from tenants.models import APIKey, Tenant

_ZERO = Decimal(0)
# Earlier in a month, a pace says nothing.
_FORESEEN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Part:
    """One row of a breakdown; `amount` is in major units, exact, and `calls` counts free ones in."""

    label: str
    key: str  # what it is filtered by, an id or empty
    calls: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class LineShown:
    line: RatedLine
    price: str  # in words

    @property
    def money(self) -> Money:
        return Money(self.line.minor, self.line.currency)


@dataclass(frozen=True, slots=True)
class Spending:
    period: Period
    currency: str
    lines: list[LineShown] = field(default_factory=list)
    paid_calls: int = 0
    free_calls: int = 0
    by_server: list[Part] = field(default_factory=list)
    by_key: list[Part] = field(default_factory=list)
    by_team: list[Part] = field(default_factory=list)
    by_day: list[tuple[date, Decimal]] = field(default_factory=list)
    forecast: Money | None = None

    @property
    def total(self) -> Money:
        return Money(sum(shown.line.minor for shown in self.lines), self.currency)

    @property
    def month(self) -> date:
        return months.from_number(self.period.pk)


def spending(tenant: Tenant, period: Period, currency: str) -> Spending:
    """As of this moment. Call it inside the organisation's scope."""
    cells = usage.cells(period)
    lines = rating.rate_rows(_rows(cells), months.from_number(period.pk))
    with platform_scope():
        versions = PriceVersion.objects.in_bulk({line.price_version_id for line in lines})
        keys = {key.pk: key for key in APIKey.objects.filter(tenant=tenant).select_related("team")}
    unit = _unit_costs(lines)

    def cost(cell: Cell) -> Decimal:
        return unit[cell.price_version_id] * cell.quantity if cell.price_version_id else _ZERO

    def key_name(cell: Cell) -> tuple[str, str]:
        key = keys.get(cell.api_key_id) if cell.api_key_id else None
        return (key.name, str(key.pk)) if key else ("Applications and people", "")

    def team_name(cell: Cell) -> tuple[str, str]:
        key = keys.get(cell.api_key_id) if cell.api_key_id else None
        return (key.team.name, str(key.team_id)) if key and key.team else ("No team", "")

    return Spending(
        period=period,
        currency=currency,
        lines=[LineShown(line, words(versions[line.price_version_id].terms, line.currency)) for line in lines],
        paid_calls=sum(cell.calls for cell in cells if cell.price_version_id),
        free_calls=sum(cell.calls for cell in cells if not cell.price_version_id),
        by_server=_parts(cells, lambda cell: (cell.server_name, str(cell.server_id)), cost),
        by_key=_parts(cells, key_name, cost),
        by_team=_parts(cells, team_name, cost),
        by_day=_days(cells, versions, period),
        forecast=_forecast(lines, period, currency, clock.now()),
    )


def periods() -> list[Period]:
    """The months that can be looked at, the latest first. Inside the organisation's scope."""
    return list(Period.objects.filter(starts_at__lte=clock.now()).order_by("-id"))


def find_period(number: int | None) -> Period | None:
    """The period of a month such as 202611; without a number, that of this moment."""
    if number is None:
        now = clock.now()
        return Period.objects.filter(starts_at__lte=now, ends_at__gt=now).first()
    return Period.objects.filter(pk=number, starts_at__lte=clock.now()).first()


def _rows(cells: Iterable[Cell]) -> list[PeriodUsage]:
    """Counted calls as they are rated: keys and days do not matter to a price."""
    found: dict[tuple[UUID, str, UUID | None, UUID, date], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.price_version_id is not None:
            month = cell.day.replace(day=1)
            found[cell.server_id, cell.tool, cell.provider_id, cell.price_version_id, month].append(cell)
    return [
        PeriodUsage(
            server_id,
            max(cell.server_name for cell in group),
            tool,
            provider_id,
            version,
            month,
            sum((cell.quantity for cell in group), _ZERO),
            sum(cell.calls for cell in group),
        )
        for (server_id, tool, provider_id, version, month), group in found.items()
    ]


def _unit_costs(lines: Iterable[RatedLine]) -> dict[UUID, Decimal]:
    """What a unit of each price came to, on average."""
    exact: dict[UUID, Decimal] = defaultdict(Decimal)
    quantity: dict[UUID, Decimal] = defaultdict(Decimal)
    for line in lines:
        exact[line.price_version_id] += line.exact
        quantity[line.price_version_id] += line.quantity
    return {version: exact[version] / quantity[version] if quantity[version] else _ZERO for version in exact}


def _parts(
    cells: Iterable[Cell], name: Callable[[Cell], tuple[str, str]], cost: Callable[[Cell], Decimal]
) -> list[Part]:
    calls: dict[tuple[str, str], int] = defaultdict(int)
    amounts: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for cell in cells:
        calls[name(cell)] += cell.calls
        amounts[name(cell)] += cost(cell)
    parts = [Part(label, key, count, amounts[label, key]) for (label, key), count in calls.items()]
    return sorted(parts, key=lambda part: (-part.amount, -part.calls, part.label))


def _days(cells: Sequence[Cell], versions: dict[UUID, PriceVersion], period: Period) -> list[tuple[date, Decimal]]:
    """Each day of the month so far; late calls count on its first day, because they are billed in it."""
    first = period.starts_at.date()
    last = min((period.ends_at - timedelta(microseconds=1)), clock.now()).date()
    quantities: dict[UUID, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for cell in cells:
        if cell.price_version_id is not None:
            quantities[cell.price_version_id][cell.day] += cell.quantity
    amounts: dict[date, Decimal] = defaultdict(Decimal)
    for version, counted in quantities.items():
        for day, amount in by_day(counted, versions[version].terms).items():
            amounts[min(max(day, first), last)] += amount
    return [(first + timedelta(days=n), amounts[first + timedelta(days=n)]) for n in range((last - first).days + 1)]


def _forecast(lines: Iterable[RatedLine], period: Period, currency: str, now: datetime) -> Money | None:
    """What the month comes to at the pace so far; None before there is a pace, and for months that are over."""
    gone = now - period.starts_at
    if now >= period.ends_at or gone < _FORESEEN_AFTER:
        return None
    whole = (period.ends_at - period.starts_at) // timedelta(seconds=1)
    exact = sum((line.exact for line in lines if not line.late), _ZERO)
    late = sum((line.exact for line in lines if line.late), _ZERO)
    return Money.from_rate(late + exact * whole / (gone // timedelta(seconds=1)), currency)
