"""The ledger for operators: accounts with what they hold, bookings with both their sides, and the way to what they are about."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from billing.core.postings import Kind
from billing.selectors import ledger as reading
from core.money import Money
from tenants.requests import MarketRequest

_PER_PAGE = 50


@require_safe
def bookings(request: MarketRequest) -> HttpResponse:
    asked = {name: request.GET.get(name, "").strip() for name in ("account", "kind", "q")}
    kind = asked["kind"] if asked["kind"] in set(Kind) else ""
    rows = reading.bookings(account=asked["account"], kind=kind, q=asked["q"])
    page = Paginator(rows, _PER_PAGE).get_page(request.GET.get("page"))
    account = reading.account(asked["account"]) if asked["account"] else None
    kinds = [(each.value, each.value.replace("_", " ").capitalize()) for each in Kind]
    context: dict[str, Any] = {"page": page, "asked": asked, "kinds": kinds, "account": account}
    if account is not None:
        context["held"] = Money(account.balance.amount, account.currency)
    return render(request, "billing/operations_ledger.html", context)


@require_safe
def booking(request: MarketRequest, booking_id: UUID) -> HttpResponse:
    found = reading.booking(booking_id)
    if found is None:
        raise Http404
    sides = [
        {"account": row.account, "amount": Money(abs(row.amount), row.currency), "debit": row.amount > 0}
        for row in found.postings.all()
    ]
    return render(request, "billing/operations_booking.html", {"booking": found, "sides": sides})


@require_safe
def accounts(request: MarketRequest) -> HttpResponse:
    """What each account holds, and whether all of them add up to nothing."""
    asked = {name: request.GET.get(name, "").strip() for name in ("family", "q")}
    page = Paginator(reading.accounts(**asked), _PER_PAGE).get_page(request.GET.get("page"))
    trial = [(family, Money(minor, currency)) for family, currency, minor in reading.trial_balance()]
    context = {
        "page": page,
        "asked": asked,
        "trial": trial,
        "rows": [(account, Money(account.balance.amount, account.currency)) for account in page],
        "off": sorted({money.currency for _, money in trial if _sum(trial, money.currency)}),
    }
    return render(request, "billing/operations_accounts.html", context)


def _sum(trial: list[tuple[str, Money]], currency: str) -> int:
    return sum(money.minor for _, money in trial if money.currency == currency)


operations: list[URLPattern] = [
    path("ledger/", bookings, name="operations-billing-ledger"),
    path("ledger/accounts/", accounts, name="operations-billing-accounts"),
    path("ledger/<uuid:booking_id>/", booking, name="operations-billing-booking"),
]
