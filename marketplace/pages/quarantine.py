"""Tools in quarantine, for operators: what was approved, what the server says today, and the decision."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from audit import services as audit
from catalog.models import ToolDrift
from catalog.selectors import drifts
from catalog.services import drifts as service
from core.errors import MarketplaceError
from tenants.requests import MarketRequest
from tenants.web.guards import person

CLOSED_MAX = 20
CONTEXT_LINES = 3
_COMPARED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


@dataclass(frozen=True, slots=True)
class Line:
    kind: str  # added, removed, same, skipped
    text: str


@require_http_methods(["GET", "POST"])
def quarantine(request: MarketRequest) -> HttpResponse:
    """Every tool that is closed because its definition changed; approving one opens it as it is."""
    if request.method == "POST":
        return _approve(request)
    rows = [{"drift": drift, "lines": _difference(drift)} for drift in drifts.list_open()]
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


def _difference(drift: ToolDrift) -> list[Line]:
    """Both definitions line by line. Written in ASCII, so that characters that do not show are seen."""
    before, after = _text(drifts.approved_definition(drift)), _text(drift.found_definition)
    lines = list(difflib.unified_diff(before, after, lineterm="", n=CONTEXT_LINES))[2:]
    kinds = {"+": "added", "-": "removed", "@": "skipped"}
    return [Line(kinds.get(line[:1], "same"), "…" if line.startswith("@") else line) for line in lines]


def _text(definition: dict[str, Any]) -> list[str]:
    shown = {key: definition[key] for key in _COMPARED if key in definition}
    return json.dumps(shown, indent=2, ensure_ascii=True, sort_keys=True).splitlines()
