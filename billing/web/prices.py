"""A provider's page of a server's prices: what holds, what comes, and an editor that shows what a change would mean."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_http_methods

from audit import services as audit
from billing.core.wording import words
from billing.models import PriceVersion
from billing.selectors import prices as selectors
from billing.services import prices, simulating
from billing.web.price_forms import PriceForm, initial_of
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.web.viewers import viewer_of
from core import clock
from core.errors import MarketplaceError, NotFoundError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require
from tenants.web.forms import show_error

_HISTORY_SHOWN = 30


@require_http_methods(["GET", "HEAD", "POST"])
def server_prices(request: OrganisationRequest, org: str, slug: str) -> HttpResponse:
    """Shows prices; a post previews a change, and sets it when it says so."""
    require(request.membership, Right.PUBLISH)
    server = _get(request, slug)
    current = selectors.current_prices([server.pk]).get(server.pk, {})
    tools = _tools(server)
    chosen = request.GET.get("tool", "")
    held = current.get(chosen) or current.get("")
    form = PriceForm(
        request.POST or None,
        tools=tools,
        initial={"tool": chosen if chosen in tools else "", **(initial_of(held.terms) if held else {})},
    )
    preview: dict[str, Any] | None = None
    if request.method == "POST" and form.is_valid():
        try:
            if request.POST.get("do") == "set":
                return _set(request, org, server, form)
            preview = _preview(server, current, form)
        except MarketplaceError as error:
            show_error(form, error)
    context = {
        "server": server,
        "form": form,
        "preview": preview,
        "rows": [_row(price) for price in selectors.history(server.pk)[:_HISTORY_SHOWN]],
        "notice_days": prices.notice().days,
    }
    return render(request, "billing/prices.html", context, status=422 if form.is_bound and form.errors else 200)


def _set(request: OrganisationRequest, org: str, server: Server, form: PriceForm) -> HttpResponse:
    data = form.cleaned_data
    price = prices.change_price(
        server=server,
        model=data["model"],
        tool=data["tool"],
        actor=audit.Party("user", str(request.user.pk), request.user.email),
        effective_from=data["effective_from"],
    )
    when = f"from {price.effective_from:%d %B %Y %H:%M} UTC on" if price.effective_from > clock.now() else "now"
    told = " Those who use it are told." if price.rises else ""
    messages.success(request, f"{price.tool or server.name} costs {words(price.terms, price.currency)} {when}.{told}")
    return redirect("org:server-prices", org, server.slug)


def _preview(server: Server, current: dict[str, PriceVersion], form: PriceForm) -> dict[str, Any]:
    """What the change would mean. Raises InvalidError as the change would."""
    data = form.cleaned_data
    model, tool = data["model"], data["tool"]
    change = prices.foresee(server=server, model=model, tool=tool, effective_from=data["effective_from"])
    held = current.get(tool) or current.get("")
    return {
        "words": words(model, "USD"),
        "change": change,
        "holds_from": max(data["effective_from"] or change.holds_from, change.holds_from),
        "at_once": not change.rises and not data["effective_from"],
        "samples": simulating.sample(held, model),
        "simulation": simulating.simulate(server, model, tool),
        "tool": tool,
    }


def _row(price: PriceVersion) -> dict[str, Any]:
    now = clock.now()
    is_over = price.effective_to is not None and price.effective_to <= now
    state = "past" if is_over else "coming" if price.effective_from > now else "holds"
    return {"price": price, "words": words(price.terms, price.currency), "state": state}


def _tools(server: Server) -> list[str]:
    version = server.current_version
    return list(version.tools.order_by("name").values_list("name", flat=True)) if version else []


def _get(request: OrganisationRequest, slug: str) -> Server:
    rows = visible_to(viewer_of(request)).filter(owner_tenant=request.organisation, slug=slug)
    server = rows.select_related("current_version").first()
    if server is None:
        raise NotFoundError("There is no server of this name that your organisation publishes.")
    return server


urls = [path("servers/<slug:slug>/prices/", server_prices, name="server-prices")]
