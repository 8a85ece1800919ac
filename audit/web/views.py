"""The audit log of an organisation: who did what, and whether the record still holds together.

The address list of the organisation's pages asks for the right; this app knows no rights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from audit import selectors, services
from core import clock

if TYPE_CHECKING:
    from tenants.requests import OrganisationRequest

# Beyond this a page would take seconds; the nightly job verifies chains of any length.
VERIFY_AT_ONCE_MAX = 50_000


@require_http_methods(["GET", "POST"])
def audit_log(request: OrganisationRequest, org: str) -> HttpResponse:
    """A POST verifies the chain and shows the result with its time; nothing is stored."""
    count = selectors.size()
    wanted = {"action": request.GET.get("action", "")[:100], "actor": request.GET.get("actor", "").strip()[:100]}
    page = selectors.read_page(
        **wanted, before=_number(request.GET.get("before")), after=_number(request.GET.get("after"))
    )
    context = {
        "page": page,
        "wanted": wanted,
        "filtered": any(wanted.values()),
        "actions": selectors.list_actions(),
        "count": count,
        "can_verify": count <= VERIFY_AT_ONCE_MAX,
        "verdict": _verify() if request.method == "POST" and count <= VERIFY_AT_ONCE_MAX else None,
        "older_url": _address(org, wanted, before=page.older),
        "newer_url": _address(org, wanted, after=page.newer),
    }
    return render(request, "audit/log.html", context)


def _verify() -> dict[str, Any]:
    count, broken = services.verify()
    return {"at": clock.now(), "count": count, "broken": broken}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _address(org: str, wanted: dict[str, str], **place: int | None) -> str:
    if None in place.values():
        return ""
    query = {name: value for name, value in {**wanted, **place}.items() if value not in {"", None}}
    return f"{reverse('org:audit', args=[org])}?{urlencode(query)}"
