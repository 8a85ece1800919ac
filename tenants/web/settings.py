"""Settings and flags: the page of an organisation, and what the operators' page shares with it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from core.errors import InvalidError
from tenants.choices import Right
from tenants.flags import Kind
from tenants.models import Membership
from tenants.requests import MarketRequest, OrganisationRequest
from tenants.services import rights, settings
from tenants.web.guards import person


@require_http_methods(["GET", "POST"])
def organisation_settings(request: OrganisationRequest, org: str) -> HttpResponse:
    """Everybody of the organisation sees what holds; those with the right change it."""
    membership = request.membership
    manages = membership.can(Right.MANAGE_SETTINGS)
    context = {
        "manages": manages,
        "who_can": "" if manages else rights.who_can(membership, Right.MANAGE_SETTINGS),
        "action": reverse("org:settings", args=[org]),
        "tenant": request.organisation,
        "views_webhooks": membership.can(Right.VIEW_AUDIT),
    }
    return settings_page(request, "tenants/settings.html", context, membership)


def settings_page(
    request: MarketRequest, template: str, context: dict[str, Any], membership: Membership | None
) -> HttpResponse:
    """List the settings of an organisation or of the platform; a POST saves or resets the one that it names.

    With htmx the answer is the row of that setting, also when the value was refused; without, the whole page.
    """
    problem, changed = "", None
    if request.method == "POST":
        changed, problem = _change(request, membership)
        if request.htmx:
            row = {**context, "setting": changed, "problem": problem, "saved": not problem}
            return render(request, "tenants/_setting.html", row)
        if not problem:
            messages.success(request, f"{changed.flag.name} is {changed.shown}.")
            return redirect(f"{request.path}#setting-{changed.flag.name}")
    listed = settings.list_settings(membership.tenant if membership else None)
    context |= {"groups": listed, "problem": problem, "problem_of": changed.flag.name if changed else ""}
    return render(request, template, context, status=422 if problem else 200)


def _change(request: MarketRequest, membership: Membership | None) -> tuple[settings.Setting, str]:
    """The setting after the change, and why there was none."""
    name, user = request.POST.get("name", ""), person(request)
    before = settings.get_setting(name, membership.tenant if membership else None)
    try:
        if "reset" in request.POST:
            return settings.reset(name=name, actor=user, membership=membership), ""
        raw: object = request.POST.get("value", "")
        if before.flag.kind == Kind.LIST:
            raw = request.POST.getlist("value")
        return settings.put(name=name, value=raw, actor=user, membership=membership), ""
    except InvalidError as error:
        return before, f"{error.message} {error.next_step}"
