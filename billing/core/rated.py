"""From counted calls to priced lines: each line's exact price, rounded once, and what of it is the provider's.

A price has one counter for each organisation and period. Where several lines count on it (its tools, and late calls of months
before), they follow each other by month and tool, and a line costs what the counter's price rose by: `rate` telescopes, so the
lines of a price sum to the price of all its units whatever the lines are. No line depends on the order in which calls arrived.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Context, Decimal, Inexact, localcontext
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from billing.core.rating import PriceModel, rate
from billing.core.shares import split
from core.money import Money

_EXACT = Context(prec=60, traps=[Inexact])
_ZERO = Decimal(0)
_TOOL_MAX = 90


@dataclass(frozen=True, slots=True)
class Used:
    """Units of one tool at one price, called in one month."""

    server_id: UUID
    server_name: str
    tool: str
    provider_id: UUID | None
    price_version_id: UUID
    origin_month: date
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    model: PriceModel
    currency: str


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One line of a bill. `exact` is in major units, `minor` is `exact` rounded half up; `quantity` counts `free_quantity` in.

    `late` calls were made in a month before that of the bill. Without a provider everything is the platform's.
    """

    key: str
    server_id: UUID
    server_name: str
    tool: str
    provider_id: UUID | None
    provider_name: str
    price_version_id: UUID
    origin_month: date
    late: bool
    quantity: Decimal
    free_quantity: Decimal
    exact: Decimal
    minor: int
    currency: str
    share_bps: int = 0
    agreement_id: UUID | None = None
    provider_minor: int = 0
    platform_minor: int = 0


Agreement = Callable[[UUID, date], tuple[UUID, int]]


def rate_usage(
    used: Iterable[Used],
    *,
    month: date,
    prices: Mapping[UUID, Price],
    provider_names: Mapping[UUID, str],
    agreement: Agreement,
) -> list[RatedLine]:
    """The lines of a month in the order of their keys. `agreement` gives a provider's agreement (id, basis points) of a month."""
    by_price: dict[UUID, list[Used]] = defaultdict(list)
    for each in used:
        by_price[each.price_version_id].append(each)
    lines: list[RatedLine] = []
    for version, rows in by_price.items():
        lines += _priced(rows, prices[version], month, provider_names)
    return _shared(sorted(lines, key=attrgetter("key")), agreement)


def key_of(used: Used) -> str:
    """Of its line, at most 200 characters: what is the same here is on one line."""
    tool = used.tool
    if len(tool) > _TOOL_MAX:
        tool = f"{tool[: _TOOL_MAX - 33]}~{sha256(tool.encode()).hexdigest()[:32]}"
    provider = used.provider_id.hex if used.provider_id else "-"
    return f"{used.server_id.hex}:{tool}:{used.price_version_id.hex}:{used.origin_month:%Y-%m}:{provider}"


def by_day(quantities: Mapping[date, Decimal], model: PriceModel) -> dict[date, Decimal]:
    """What each day added to the price of a counter, exact; the days sum to the price of all their units."""
    with localcontext(_EXACT):
        costs, count, cost = {}, _ZERO, _ZERO
        for day in sorted(quantities):
            count += quantities[day]
            reached = rate(model, count)
            costs[day], cost = reached - cost, reached
    return costs


def _priced(rows: list[Used], price: Price, month: date, names: Mapping[UUID, str]) -> list[RatedLine]:
    lines, count, cost = [], _ZERO, _ZERO
    for row in sorted(rows, key=lambda row: (row.origin_month, row.tool, str(row.server_id), str(row.provider_id))):
        with localcontext(_EXACT):
            reached = count + row.quantity
            reached_cost = rate(price.model, reached)
            exact = reached_cost - cost
            free = min(max(price.model.free - count, _ZERO), row.quantity)
        lines.append(
            RatedLine(
                key=key_of(row),
                server_id=row.server_id,
                server_name=row.server_name,
                tool=row.tool,
                provider_id=row.provider_id,
                provider_name=names.get(row.provider_id, "") if row.provider_id else "",
                price_version_id=row.price_version_id,
                origin_month=row.origin_month,
                late=row.origin_month < month,
                quantity=row.quantity,
                free_quantity=free,
                exact=exact,
                minor=Money.from_rate(exact, price.currency).minor,
                currency=price.currency,
            )
        )
        count, cost = reached, reached_cost
    return lines


def _shared(lines: list[RatedLine], agreement: Agreement) -> list[RatedLine]:
    """Each provider's lines by themselves, in the order of keys, those of one agreement together."""
    agreed = [(line, agreement(line.provider_id, line.origin_month) if line.provider_id else None) for line in lines]
    shared: dict[str, RatedLine] = {}
    known = [(line, found) for line, found in agreed if found is not None]
    known.sort(key=lambda each: (str(each[0].provider_id), str(each[1][0]), each[0].currency, each[0].key))
    for (_, (agreement_id, bps), _), group in groupby(
        known, key=lambda each: (each[0].provider_id, each[1], each[0].currency)
    ):
        part = [line for line, _ in group]
        for line, (provider, platform) in zip(part, split([line.minor for line in part], bps), strict=True):
            shared[line.key] = replace(
                line, share_bps=bps, agreement_id=agreement_id, provider_minor=provider, platform_minor=platform
            )
    return [shared.get(line.key) or replace(line, platform_minor=line.minor) for line in lines]
