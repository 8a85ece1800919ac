"""Calls that wait for a person: the list, one call with its arguments, and deciding about it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from access import flow
from access.approvals import deciding, telling
from access.models import ApprovalState, CallApproval
from access.web.grants import tabs
from access.web.viewing import servers_by_id
from core.errors import MarketplaceError, NotFoundError
from marketplace.playground import masks
from tenants.choices import Right
from tenants.models import Membership
from tenants.requests import OrganisationRequest

PAGE_SIZE = 25
_FILTERS = (("waiting", "Waiting"), ("decided", "Decided"), ("all", "All"))


@require_safe
def approval_list(request: OrganisationRequest, org: str) -> HttpResponse:
    everything = deciding.visible(request.membership)
    shown = request.GET.get("show", "waiting")
    rows = {
        "waiting": everything.filter(state=ApprovalState.WAITING),
        "decided": everything.exclude(decided_at=None),
    }.get(shown, everything)
    context = {
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "shown": shown,
        "chips": [{"label": label, "url": f"?show={name}", "active": name == shown} for name, label in _FILTERS],
        "tabs": tabs(request, org, "approvals"),
        "to_decide": deciding.waiting_for(request.membership).count(),
        "can_manage": request.membership.can(Right.MANAGE_ACCESS),
    }
    return render(request, "access/approvals.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def approval_detail(request: OrganisationRequest, org: str, approval_id: UUID) -> HttpResponse:
    """A POST names what is done: approve or reject, and the digest of what was shown."""
    found = deciding.get(request.membership, approval_id)
    if request.method == "POST":
        try:
            words = _act(request, found)
        except MarketplaceError as error:
            messages.error(request, f"{error.message} {error.next_step}".strip())
        else:
            messages.success(request, words)
        return redirect("org:call-approval", org, found.pk)
    context = {
        "found": found,
        "tabs": tabs(request, org, "approvals"),
        "facts": _facts(found),
        "arguments": shown_arguments(request.membership, found),
        "server": servers_by_id(request, [found.server_id]).get(found.server_id),
        "may_decide": deciding.may_decide(request.membership, found),
        "own": request.user.pk in found.barred,
        "deciders": telling.deciders(request.organisation, found),
    }
    return render(request, "access/approval.html", context)


def _act(request: OrganisationRequest, found: CallApproval) -> str:
    common: dict[str, Any] = {
        "member": request.membership,
        "approval_id": found.pk,
        "binding": request.POST.get("binding", ""),
        "comment": request.POST.get("comment", ""),
    }
    match request.POST.get("act"):
        case "approve":
            deciding.approve(**common)
            return "Approved. The call passes once, when the agent sends it again."
        case "reject":
            deciding.reject(**common)
            return "Rejected. The agent is told why."
    raise NotFoundError("A waiting call is approved or rejected.")


def shown_arguments(member: Membership, found: CallApproval) -> Any:
    """The arguments with what looks like a secret hidden; None once they are erased."""
    data = deciding.arguments_of(member, found)
    return None if data is None else masks.masked(json.loads(data))


def _facts(found: CallApproval) -> list[dict[str, Any]]:
    facts = [
        ("Tool", found.tool),
        ("Server", found.server_name),
        ("Does", found.side_effect or "not declared"),
        ("Key", found.key_label),
        ("Agent", found.agent),
        ("Session", found.session),
        ("Would meet in its session", flow.words(found.flow)),
        ("Ends" if found.stands in {"waiting", "approved"} else "Ended", f"{found.expires_at:%-d %B %Y, %H:%M} UTC"),
        ("Decided by", found.decided_by_label),
        ("Why", found.comment),
    ]
    return [{"label": label, "value": value} for label, value in facts if value]
