"""The pages of operators about signs of fraud: what was seen, what is held for it, and the decision."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_safe

from billing.selectors import fraud as reading
from billing.services import fraud
from core.errors import MarketplaceError
from tenants.requests import MarketRequest
from tenants.web.guards import person

_PER_PAGE = 50
_DECIDED_SHOWN = 20


@require_safe
def flags(request: MarketRequest) -> HttpResponse:
    context = {
        "page": Paginator(reading.open_flags(), _PER_PAGE).get_page(request.GET.get("page")),
        "decided": reading.decided_flags()[:_DECIDED_SHOWN],
    }
    return render(request, "billing/operations_fraud.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def flag(request: MarketRequest, flag_id: UUID) -> HttpResponse:
    """One sign. To decide, operators have just proven that it is them, because the decision moves money."""
    found = reading.flag(flag_id)
    if found is None:
        raise Http404
    here = reverse("operations-billing-fraud-flag", args=[flag_id])
    proof_url = f"{reverse('account_reauthenticate')}?{urlencode({'next': here})}"
    proven = did_recently_reauthenticate(request)
    if request.method == "POST":
        if not proven:
            return redirect(proof_url)
        _decide(request, flag_id)
        return redirect(here)
    context = {
        "flag": found,
        "held": reading.held(found, settings.BILLING_CURRENCY),
        "proven": proven,
        "proof_url": proof_url,
    }
    return render(request, "billing/operations_fraud_flag.html", context)


def _decide(request: MarketRequest, flag_id: UUID) -> None:
    confirmed = request.POST.get("decision") == "confirm"
    try:
        fraud.decide(
            flag_id=flag_id, confirmed=confirmed, reason=request.POST.get("reason", ""), operator=person(request)
        )
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
    else:
        said = "It is held for good." if confirmed else "What was held is released when it is due."
        messages.success(request, said)


operations: list[URLPattern] = [
    path("fraud/", flags, name="operations-billing-fraud"),
    path("fraud/<uuid:flag_id>/", flag, name="operations-billing-fraud-flag"),
]
