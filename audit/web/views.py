"""The audit log of an organisation: who did what, and whether the record still holds together.

The address list of the organisation's pages asks for the right; this app knows no rights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from audit import selectors, services
from audit.services import checkpoints
from audit.services.events import active_log
from audit.statements import NotAStatementError
from core import clock
from core.errors import NotFoundError

if TYPE_CHECKING:
    from tenants.requests import OrganisationRequest

# Beyond this a page would take seconds; the nightly job verifies chains of any length.
VERIFY_AT_ONCE_MAX = 100_000


@require_http_methods(["GET", "POST"])
def audit_log(request: OrganisationRequest, org: str) -> HttpResponse:
    """A POST verifies the chain, also against a checkpoint that somebody kept, and shows the result; nothing is stored."""
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
        "verdict": _verify(request) if request.method == "POST" and count <= VERIFY_AT_ONCE_MAX else None,
        "checkpoint": checkpoints.newest(),
        "older_url": _address(org, wanted, before=page.older),
        "newer_url": _address(org, wanted, after=page.newer),
    }
    return render(request, "audit/log.html", context)


@require_safe
def audit_checkpoint(request: OrganisationRequest, org: str) -> HttpResponse:
    """The newest signed checkpoint as a file, for whoever wants to keep one. Raises NotFoundError before the first."""
    statement = checkpoints.newest()
    if statement is None:
        raise NotFoundError(
            "No checkpoint was made yet.", next_step="One is made within a minute of the first event; come back then."
        )
    name = f"audit-checkpoint-{org}-{statement.point.sequence}.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(statement.line() + "\n", content_type="application/json", headers=headers)


def _verify(request: OrganisationRequest) -> dict[str, Any]:
    text = request.POST.get("checkpoint", "").strip()
    given, problem = [], ""
    if text:
        try:
            given = [checkpoints.read_ours(text)]
        except NotAStatementError as error:
            problem = f"This is not a checkpoint of ours. {error}"
        else:
            problem = "" if given[0].log == active_log() else "This is a checkpoint of another organisation's log."
    count, broken = services.verify(given)
    against = given[0] if given and not problem else None
    return {"at": clock.now(), "count": count, "broken": broken, "against": against, "problem": problem}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _address(org: str, wanted: dict[str, str], **place: int | None) -> str:
    if None in place.values():
        return ""
    query = {name: value for name, value in {**wanted, **place}.items() if value not in {"", None}}
    return f"{reverse('org:audit', args=[org])}?{urlencode(query)}"
