"""Pages of what is being spent: a month so far with what it comes to, by server, tool, team, key and day."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.conf import settings
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from billing.selectors import spending as selectors
from billing.selectors.spending import Spending
from billing.web.tabs import tabs
from core.errors import NotFoundError
from core.money import exponent
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.web.guards import needs

_ROWS = 50
_MONTHS = 12
_MONTH_DIGITS = 6
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS = (
    "month", "origin_month", "server", "tool", "provider", "price", "calls", "free_calls", "exact", "amount", "currency",
)  # fmt: skip


@require_safe
@needs(Right.VIEW_BILLING)
def spend(request: OrganisationRequest, org: str) -> HttpResponse:
    found = _asked(request)
    return render(request, "billing/spend.html", _context(found) | {"tabs": tabs(request, org, "spend")})


@require_safe
@needs(Right.VIEW_BILLING)
def spend_csv(request: OrganisationRequest, org: str) -> HttpResponse:
    """The lines of a month, as they would be invoiced at this moment."""
    found = _asked(request)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for shown in found.lines:
        line = shown.line
        writer.writerow(
            _cell(value)
            for value in (
                f"{found.month:%Y-%m}", f"{line.origin_month:%Y-%m}", line.server_name, line.tool, line.provider_name,
                shown.price, f"{line.quantity.normalize():f}", f"{line.free_quantity.normalize():f}",
                f"{line.exact.normalize():f}", f"{shown.money.major:f}", line.currency,
            )
        )  # fmt: skip
    return HttpResponse(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{org}-usage-{found.month:%Y-%m}.csv"',
            "Cache-Control": "private, no-store",
        },
    )


def asked_number(parameters: QueryDict) -> int | None:
    """The month that an address asks for, such as 202611. Raises NotFoundError for what is none."""
    text = parameters.get("month", "").replace("-", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) == _MONTH_DIGITS):
        raise NotFoundError("A month is written like 2026-11.")
    return int(text)


def _asked(request: OrganisationRequest) -> Spending:
    period = selectors.find_period(asked_number(request.GET))
    if period is None:
        raise NotFoundError("Nothing is counted for this month.", next_step="Choose one of the months of this page.")
    return selectors.spending(request.organisation, period, settings.BILLING_CURRENCY)


def _context(found: Spending) -> dict[str, Any]:
    places = exponent(found.currency)
    lines = sorted(found.lines, key=lambda shown: -shown.line.minor)
    return {
        "found": found,
        "lines": lines[:_ROWS],
        "more": max(0, len(lines) - _ROWS),
        "months": [
            {
                "label": f"{period.starts_at:%B %Y}",
                "url": f"?month={period}",
                "active": period.pk == found.period.pk,
            }
            for period in selectors.periods()[:_MONTHS]
        ],
        "days": [(f"{day:%-d %b}", round(amount, max(places, 4))) for day, amount in found.by_day],
        "parts": [
            ("By server", "Server", found.by_server[:_ROWS], "server"),
            ("By team", "Team", found.by_team[:_ROWS], ""),
            ("By key", "Key", found.by_key[:_ROWS], "key"),
        ],
    }


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) and not value.lstrip("-").replace(".", "").isdigit() else value


urls: list[URLPattern] = [
    path("billing/spend/", spend, name="spend"),
    path("billing/usage.csv", spend_csv, name="spend-csv"),
]
operations: list[URLPattern] = []
