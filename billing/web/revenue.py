"""The page of operators about revenue: months of the ledger, and what servers, providers and plans brought in."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from billing.core import months
from billing.selectors import revenue as reading
from billing.selectors.revenue import AMOUNTS, By, Month
from billing.services.exports import cell
from core import clock
from core.errors import InvalidError
from core.money import Money
from tenants.requests import MarketRequest

_SHOWN_MONTHS, _MONTHS_MAX = 12, 120
_ROWS = 100
_MONTH_LENGTH = 7
_PARTS = ("calls", "billed", "providers", "platform", "credited")
# Amounts of a month in the order in which they are read, with what they are called.
_LABELS = {
    "usage": "Usage billed",
    "providers": "Providers' share",
    "platform": "Platform's share",
    "plans": "Plans billed",
    "plans_earned": "Plans earned",
    "given": "Credit given",
    "credited": "Credit notes",
    "refunded": "Refunds",
    "fees": "Fees",
    "written_off": "Written off",
    "disputed": "Disputes lost",
    "result": "Platform's result",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Months of an address, both first days and both included; `by` is None for months."""

    since: date
    until: date
    by: By | None

    def query(self, **changed: str) -> str:
        said = {"by": self.by.value if self.by else "month", "from": f"{self.since:%Y-%m}", "to": f"{self.until:%Y-%m}"}
        return "?" + urlencode(said | changed)


@require_safe
def revenue(request: MarketRequest) -> HttpResponse:
    asked, error = _read(request.GET)
    currency = settings.BILLING_CURRENCY
    rows = reading.by_month(asked.since, asked.until, currency)
    whole = reading.totals(rows)
    context = {
        "asked": asked,
        "error": error,
        "currency": currency,
        "labels": list(_LABELS.values()),
        "months": [(row.month, _amounts(row)) for row in rows],
        "whole": _amounts(whole),
        "tiles": [
            (_LABELS[name], Money(getattr(whole, name), currency))
            for name in ("usage", "providers", "platform", "result")
        ],
        "chart": [
            (f"{row.month:%b %Y}", [_major(row.providers), _major(row.platform), _major(row.plans)])
            for row in rows[::-1]
        ],
        "names": ["Providers' share", "Platform's share", "Plans"],
        "chips": _chips(asked),
        "csv": asked.query(),
        **(_breakdown(asked) if asked.by else {}),
    }
    return render(request, "billing/operations_revenue.html", context, status=422 if error else 200)


@require_safe
def revenue_csv(request: MarketRequest) -> HttpResponse:
    """The same rows, all of them, in major units."""
    asked, error = _read(request.GET)
    if error:
        return HttpResponse(error, status=422, content_type="text/plain; charset=utf-8")
    text = io.StringIO()
    writer = csv.writer(text)
    for row in _records(asked):
        writer.writerow([cell(value) for value in row])
    name = f"revenue-{asked.by or 'month'}-{asked.since:%Y-%m}-{asked.until:%Y-%m}.csv"
    return HttpResponse(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"},
    )


def _records(asked: Asked) -> list[list[object]]:
    currency = settings.BILLING_CURRENCY
    if asked.by is None:
        rows = reading.by_month(asked.since, asked.until, currency)
        head: list[object] = ["month", *AMOUNTS, "currency"]
        return [
            head,
            *([f"{row.month:%Y-%m}", *(_major(getattr(row, name)) for name in AMOUNTS), currency] for row in rows),
        ]
    found = reading.by_part(asked.by, asked.since, asked.until, currency)
    head = [asked.by.value, "detail", *_PARTS, "currency"]
    amounts = _PARTS[1:]
    return [
        head,
        *(
            [
                part.label,
                part.detail,
                f"{part.calls.normalize():f}",
                *(_major(getattr(part, name)) for name in amounts),
                currency,
            ]
            for part in found.parts
        ),
    ]


def _breakdown(asked: Asked) -> dict[str, Any]:
    assert asked.by is not None
    currency = settings.BILLING_CURRENCY
    found = reading.by_part(asked.by, asked.since, asked.until, currency)
    return {
        "breakdown": found,
        "parts": [
            (part, [Money(getattr(part, name), currency) for name in _PARTS[1:]]) for part in found.parts[:_ROWS]
        ],
        "more": max(0, len(found.parts) - _ROWS),
        "part_totals": [Money(found.total(name), currency) for name in _PARTS[1:]],
        "part_chart": [(part.label, _major(part.billed)) for part in found.parts[:10]],
    }


def _amounts(row: Month) -> list[tuple[str, str]]:
    """Without the currency, which the page says once: a dozen amounts stand side by side."""
    return [(label, f"{_major(getattr(row, name)):,}") for name, label in _LABELS.items()]


def _major(minor: int) -> Decimal:
    return Money(minor, settings.BILLING_CURRENCY).major


def _chips(asked: Asked) -> list[dict[str, object]]:
    kinds = [("By month", "month", asked.by is None)]
    kinds += [(f"By {by.value}", by.value, asked.by is by) for by in By]
    return [{"label": label, "url": asked.query(by=value), "active": active} for label, value, active in kinds]


def _read(parameters: QueryDict) -> tuple[Asked, str]:
    """What is asked for; when that cannot be read, the last twelve months and why."""
    until = months.month_of(clock.now())
    since = _back(until, _SHOWN_MONTHS - 1)
    said = parameters.get("by", "")
    by = By(said) if said in set(By) else None
    try:
        since, until = _month(parameters.get("from", ""), since), _month(parameters.get("to", ""), until)
        if not since <= until <= _back(since, 1 - _MONTHS_MAX):
            raise InvalidError("The first month comes before the last, and at most ten years apart.")
    except InvalidError as error:
        until = months.month_of(clock.now())
        return Asked(_back(until, _SHOWN_MONTHS - 1), until, by), error.message
    return Asked(since, until, by), ""


def _month(text: str, default: date) -> date:
    if not text:
        return default
    try:
        if len(text) != _MONTH_LENGTH:
            raise ValueError
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise InvalidError("A month is written like 2026-11.") from None


def _back(month: date, count: int) -> date:
    """So many months before; later ones for a negative number."""
    years, rest = divmod(month.year * 12 + month.month - 1 - count, 12)
    return date(years, rest + 1, 1)


operations: list[URLPattern] = [
    path("revenue/", revenue, name="operations-billing-revenue"),
    path("revenue.csv", revenue_csv, name="operations-billing-revenue-csv"),
]
