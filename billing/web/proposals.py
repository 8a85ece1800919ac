"""Pages of operators about what needs two of them: what waits, and one proposal with its decision."""

from __future__ import annotations

from uuid import UUID

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_safe

from billing.selectors import proposals as reading
from billing.services import proposals
from billing.web.proof import proof_url
from core.errors import MarketplaceError
from tenants.requests import MarketRequest
from tenants.web.guards import person

_PER_PAGE = 25


@require_safe
def proposal_list(request: MarketRequest) -> HttpResponse:
    """What was proposed, what waits first."""
    page = Paginator(reading.proposals(), _PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "billing/operations_proposals.html", {"page": page})


@require_http_methods(["GET", "HEAD", "POST"])
def proposal(request: MarketRequest, proposal_id: UUID) -> HttpResponse:
    """One proposal, and the decision. To decide, operators have just proven that it is them."""
    found = reading.proposal(proposal_id)
    if found is None:
        raise Http404
    here = reverse("operations-billing-proposal", args=[proposal_id])
    if request.method == "POST":
        if not did_recently_reauthenticate(request):
            return redirect(proof_url(here))
        _decide(request, proposal_id)
        return redirect(here)
    context = {
        "proposal": found,
        "lines": reading.lines(found),
        "own": found.proposed_by_id == person(request).pk,
        "proven": did_recently_reauthenticate(request),
        "proof_url": proof_url(here),
    }
    return render(request, "billing/operations_proposal.html", context)


def _decide(request: MarketRequest, proposal_id: UUID) -> None:
    operator = person(request)
    try:
        if request.POST.get("decision") == "approve":
            decided = proposals.approve(proposal_id=proposal_id, operator=operator)
        else:
            reason = request.POST.get("reason", "")
            decided = proposals.reject(proposal_id=proposal_id, operator=operator, reason=reason)
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
    else:
        messages.success(request, f"{decided}: {decided.get_state_display().lower()}.")


operations: list[URLPattern] = [
    path("proposals/", proposal_list, name="operations-billing-proposals"),
    path("proposals/<uuid:proposal_id>/", proposal, name="operations-billing-proposal"),
]
