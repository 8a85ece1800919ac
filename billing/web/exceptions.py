"""The page of operators with everything about money that does not pass by itself."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from billing.selectors import exceptions as reading
from core import clock
from tenants.requests import MarketRequest


@require_safe
def exceptions(request: MarketRequest) -> HttpResponse:
    found = reading.sections()
    context = {"sections": found, "total": sum(section.count for section in found), "now": clock.now()}
    return render(request, "billing/operations_exceptions.html", context)


operations: list[URLPattern] = [
    path("exceptions/", exceptions, name="operations-billing-exceptions"),
]
