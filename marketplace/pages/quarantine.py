"""Tools in quarantine, for operators: what was approved, what the server says today, and the decision."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from audit import services as audit
from catalog import diffs
from catalog.selectors import drifts
from catalog.services import drifts as service
from core.errors import MarketplaceError
from tenants.requests import MarketRequest
from tenants.web.guards import person

CLOSED_MAX = 20


@require_http_methods(["GET", "POST"])
def quarantine(request: MarketRequest) -> HttpResponse:
    """Every tool that is closed because its definition changed; approving one opens it as it is."""
    if request.method == "POST":
        return _approve(request)
    rows = [
        {"drift": drift, "lines": diffs.of_definitions(drifts.approved_definition(drift), drift.found_definition)}
        for drift in drifts.list_open()
    ]
    return render(request, "operations/quarantine.html", {"rows": rows, "closed": drifts.list_closed(CLOSED_MAX)})


def _approve(request: MarketRequest) -> HttpResponse:
    drift = drifts.find_drift(request.POST.get("drift", ""))
    if drift is None:
        raise Http404
    operator = person(request)
    try:
        service.approve(
            drift=drift,
            found_digest=request.POST.get("digest", ""),
            actor=audit.Party("operator", str(operator.pk), operator.email),
        )
    except MarketplaceError as error:
        messages.error(request, f"{error.message} {error.next_step}".strip())
    else:
        messages.success(request, f"{drift.tool_name} is approved as it is and open again.")
    return redirect("operations-quarantine")
