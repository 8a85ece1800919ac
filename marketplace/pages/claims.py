"""Claims of listings, for operators: what no domain proves is theirs to decide, and what is proven can be taken back."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from audit import services as audit
from catalog.choices import ClaimState
from catalog.models import ListingClaim
from catalog.services import adopting, claiming
from core.errors import MarketplaceError, NotFoundError
from tenants.context import platform_scope
from tenants.requests import MarketRequest
from tenants.web.guards import person

WAITING_MAX, SETTLED_MAX = 100, 50


@require_http_methods(["GET", "HEAD", "POST"])
def operations_claims(request: MarketRequest) -> HttpResponse:
    if request.method == "POST":
        return _decide(request)
    with platform_scope():
        rows = ListingClaim.objects.select_related("server", "tenant")
        waiting = list(rows.filter(state=ClaimState.WAITING).order_by("domain", "created_at")[:WAITING_MAX])
        settled = list(rows.exclude(state=ClaimState.WAITING).order_by("-updated_at")[:SETTLED_MAX])
    context = {
        "waiting": waiting,
        "settled": [{"claim": row, "governable": adopting.is_governable(row.server)} for row in settled],
    }
    return render(request, "operations/claims.html", context)


def _decide(request: MarketRequest) -> HttpResponse:
    try:
        claim_id = UUID(request.POST.get("claim", ""))
    except ValueError as error:
        raise NotFoundError("There is no such claim.") from error
    actor = person(request)
    operator = audit.Party("operator", str(actor.pk), actor.email)
    decide = claiming.confirm if request.POST.get("decision") == "confirm" else claiming.refuse
    try:
        row = decide(claim_id=claim_id, operator=operator, words=request.POST.get("words", ""))
    except NotFoundError:
        raise
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
    else:
        messages.success(request, f"{row.server.name}: {row.get_state_display().lower()}. {row.tenant.name} is told.")
    return redirect("operations-claims")
