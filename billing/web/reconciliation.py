"""The pages of operators about differences between our books and the payment providers."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path
from django.views.decorators.http import require_http_methods, require_safe

from billing.selectors import reconciliation as reading
from billing.services import reconciliation
from core.errors import MarketplaceError
from tenants.requests import MarketRequest
from tenants.web.guards import person

_PER_PAGE = 50
_ENDED_SHOWN = 20


@require_safe
def items(request: MarketRequest) -> HttpResponse:
    context = {
        "page": Paginator(reading.open_items(), _PER_PAGE).get_page(request.GET.get("page")),
        "ended": reading.ended_items()[:_ENDED_SHOWN],
        "runs": reading.newest_runs(),
        "red": reading.red_count(),
    }
    return render(request, "billing/operations_reconciliation.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def item(request: MarketRequest, difference_id: UUID) -> HttpResponse:
    """One difference, with what may be said about it. Nothing is booked from here."""
    found = reading.item(difference_id)
    if found is None:
        raise Http404
    if request.method == "POST":
        _say(request, difference_id)
        return redirect("operations-billing-reconciliation-item", difference_id)
    return render(request, "billing/operations_reconciliation_item.html", {"item": found})


def _say(request: MarketRequest, difference_id: UUID) -> None:
    operator, closes = person(request), request.POST.get("action") == "close"
    try:
        if closes:
            reconciliation.close(item_id=difference_id, reason=request.POST.get("reason", ""), operator=operator)
        else:
            reconciliation.write_note(item_id=difference_id, text=request.POST.get("note", ""), operator=operator)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
    else:
        messages.success(request, "The difference is closed." if closes else "The note is kept.")


operations: list[URLPattern] = [
    path("reconciliation/", items, name="operations-billing-reconciliation"),
    path("reconciliation/<uuid:difference_id>/", item, name="operations-billing-reconciliation-item"),
]
