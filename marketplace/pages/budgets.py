"""Budgets: what may be spent in a day or month, how much of it is, and what happens at its end.

A budget is a limit of money. It stands here and not in `billing`, because limits are a matter of access and are set there.
"""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from access.limits import LimitKind
from access.web.limits import limit_rows
from billing.web.tabs import tabs
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import who_can


@require_safe
def budget_list(request: OrganisationRequest, org: str) -> HttpResponse:
    can_manage = request.membership.can(Right.MANAGE_ACCESS)
    context = {
        "rows": limit_rows([LimitKind.CAP]),
        "tabs": tabs(request, org, "budgets"),
        "can_manage": can_manage,
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_ACCESS),
    }
    return render(request, "billing/budgets.html", context)
