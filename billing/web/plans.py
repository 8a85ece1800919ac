"""Pages of an organisation's plan: what holds, what others would give, and changing it after a look at what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_safe

from audit import services as audit
from billing.models import Plan, PlanVersion
from billing.selectors import plans as selectors
from billing.services import plans
from billing.web import prices
from billing.web.tabs import tabs
from calls import selectors as calls
from core import clock
from core.errors import ConflictError, MarketplaceError
from core.money import Money
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require, who_can


@dataclass(frozen=True, slots=True)
class Column:
    """A plan in the table that compares them."""

    terms: PlanVersion
    is_present: bool
    verb: str  # what choosing it is called; empty where it cannot be chosen

    @property
    def price(self) -> Money:
        return Money(self.terms.price_minor, self.terms.currency)

    @property
    def calls(self) -> str:
        count = self.terms.calls_per_month
        if count is None:
            return "As agreed"
        return f"{count:,}, then {'refused' if self.terms.calls_hard else 'you are told'}"

    @property
    def included(self) -> Money:
        return Money(self.terms.included_minor, self.terms.currency)

    @property
    def spend(self) -> Money | None:
        minor = self.terms.spend_minor
        return None if minor is None else Money(minor, self.terms.currency)


@require_safe
def billing_home(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.VIEW_BILLING)
    return redirect(tabs(request, org, "")[0]["url"])


@require_safe
def plan_page(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.VIEW_BILLING)
    tenant, can_manage = request.organisation, request.membership.can(Right.MANAGE_BILLING)
    held, present = selectors.subscription(tenant.pk), selectors.current(tenant.pk)
    start, end = plans.month_of(clock.now())
    used, _ = calls.billed_since(start, end, currency="USD", key_id=None, server_id=None, tool="")
    context = {
        "tabs": tabs(request, org, "plan"),
        "held": held,
        "present": Column(present, True, "") if present else None,
        "upcoming": selectors.upcoming(tenant.pk),
        "columns": _columns(tenant.pk, present),
        "used": f"{used:,}",
        "month_ends_at": end,
        "can_manage": can_manage,
        "can_cancel": can_manage and held is not None and (held.ends_at is None or selectors.upcoming(tenant.pk)),
        "helpers": "" if can_manage else who_can(request.membership, Right.MANAGE_BILLING),
    }
    return render(request, "billing/plan.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def plan_choose(request: OrganisationRequest, org: str) -> HttpResponse:
    """Says what taking the plan `to` costs and from when it holds; the post takes it."""
    require(request.membership, Right.MANAGE_BILLING)
    plan = Plan.objects.filter(slug=request.GET.get("to", "")[:40]).first()
    if plan is None:
        return redirect("org:plan", org)
    try:
        step = plans.foresee(request.organisation, plan)
        if request.method == "POST":
            plans.subscribe(tenant=request.organisation, plan=plan, actor=_actor(request))
            messages.success(request, f"{plan.name} {'holds now' if step.is_at_once else 'holds from next month on'}.")
            return redirect("org:plan", org)
    except ConflictError as error:
        messages.info(request, error.message)
        return redirect("org:plan", org)
    context = {
        "tabs": tabs(request, org, "plan"),
        "plan": plan,
        "step": step,
        "column": Column(step.terms, False, ""),
        "now": Money(step.now_minor, step.terms.currency),
        "monthly": Money(step.terms.price_minor, step.terms.currency),
        "back": reverse("org:plan", args=[org]),
    }
    return render(request, "billing/plan_choose.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def plan_cancel(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.MANAGE_BILLING)
    if request.method == "POST":
        try:
            held = plans.cancel(tenant=request.organisation, actor=_actor(request))
        except MarketplaceError as error:
            messages.error(request, error.message)
        else:
            messages.success(request, f"The subscription ends on {held.ends_at:%d %B %Y}. Until then nothing changes.")
        return redirect("org:plan", org)
    context: dict[str, Any] = {
        "held": selectors.subscription(request.organisation.pk),
        "after": selectors.default_terms(),
        "month_ends_at": plans.month_of(clock.now())[1],
        "back": reverse("org:plan", args=[org]),
    }
    return render(request, "billing/plan_cancel.html", context)


def _columns(tenant_id: Any, present: PlanVersion | None) -> list[Column]:
    columns = []
    for public in selectors.offered():
        terms = selectors.terms_for(public.plan, tenant_id) or public
        is_present = present is not None and present.plan_id == terms.plan_id
        verb = ""
        if not is_present and terms.plan.self_service:
            verb = "Change to" if present and terms.plan.rank < present.plan.rank else "Choose"
        columns.append(Column(terms, is_present, verb))
    return columns


def _actor(request: OrganisationRequest) -> audit.Party:
    return audit.Party("user", str(request.user.pk), request.user.email)


urls = [
    path("billing/", billing_home, name="billing"),
    path("billing/plan/", plan_page, name="plan"),
    path("billing/plan/cancel/", plan_cancel, name="plan-cancel"),
    path("billing/plan/change/", plan_choose, name="plan-choose"),
    *prices.urls,
]
operations: list[Any] = []
