"""The views of operators into an organisation: where operators open them, and where the organisation sees and ends them."""

from __future__ import annotations

from uuid import UUID

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.errors import InvalidError
from tenants.choices import Right
from tenants.elevated import SESSION_KEY, elevation_of
from tenants.models import Elevation, Tenant
from tenants.requests import MarketRequest, OrganisationRequest
from tenants.services import elevations
from tenants.services.rights import require, who_can
from tenants.web.forms import show_error
from tenants.web.guards import person

_SHOWN = 100
_LENGTHS = {30: "30 minutes", 60: "1 hour", 120: "2 hours", 240: "4 hours"}


class ElevationForm(forms.Form):
    """Whom an operator looks at, why, and for how long."""

    organisation = forms.ModelChoiceField(
        Tenant.objects.order_by("name"), to_field_name="slug", empty_label="Choose an organisation"
    )
    reason = forms.CharField(
        max_length=300,
        help_text="Its owners read this at once, with your address, and it stays in their audit log.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    ticket = forms.CharField(
        max_length=100,
        required=False,
        help_text="The number of the case, if there is one.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    minutes = forms.TypedChoiceField(
        label="For at most", coerce=int, choices=[(n, _LENGTHS[n]) for n in elevations.MINUTES], initial=60
    )


@require_http_methods(["GET", "HEAD", "POST"])
def operations_records(request: MarketRequest) -> HttpResponse:
    """Open a view of one organisation, or close it. To open one, the operator has just proven that it is them."""
    operator, live = person(request), elevation_of(request)
    if request.method == "POST" and "close" in request.POST:
        request.session.pop(SESSION_KEY, None)
        if live is not None:
            elevations.end(elevation_id=live.pk, actor=operator)
        messages.success(request, "The view is closed.")
        return redirect("operations-records")
    proven = did_recently_reauthenticate(request)
    if request.method == "POST" and not proven:
        return redirect(_proof_url())
    form = ElevationForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            live = elevations.start(
                operator=operator,
                tenant=data["organisation"],
                reason=data["reason"],
                ticket=data["ticket"],
                minutes=data["minutes"],
            )
        except InvalidError as error:
            show_error(form, error)
        else:
            request.session[SESSION_KEY] = str(live.pk)
            messages.success(request, f"The records of {live.tenant.name} are open for reading.")
            return redirect("operations-records")
    context = {
        "form": form,
        "live": live,
        "proven": proven,
        "proof_url": _proof_url(),
        "past": Elevation.objects.filter(operator=operator).select_related("tenant")[:10],
    }
    return render(request, "operations/records.html", context, status=422 if form.errors else 200)


@require_safe
def operator_list(request: OrganisationRequest, org: str) -> HttpResponse:
    """Who of the platform's operators looked into this organisation, when and why."""
    require(request.membership, Right.VIEW_AUDIT)
    manages = request.membership.can(Right.MANAGE_SETTINGS)
    context = {
        "views": Elevation.objects.filter(tenant=request.organisation)[:_SHOWN],
        "manages": manages,
        "who_can": "" if manages else who_can(request.membership, Right.MANAGE_SETTINGS),
    }
    return render(request, "tenants/operators.html", context)


@require_POST
def operator_end(request: OrganisationRequest, org: str, elevation_id: UUID) -> HttpResponse:
    require(request.membership, Right.MANAGE_SETTINGS)
    ended = elevations.end(elevation_id=elevation_id, actor=request.user, tenant=request.organisation)
    messages.success(request, f"{ended.operator_label} sees nothing of {request.organisation.name} any more.")
    return redirect("org:operators", org)


def environment(request: HttpRequest) -> list[str] | None:
    """What the admin's theme shows on top of every page: whose records are open, and until when."""
    live = elevation_of(request)
    return [f"Reading {live.tenant.name} until {live.ends_at:%H:%M} UTC", "danger"] if live else None


def _proof_url() -> str:
    query = urlencode({"next": reverse("operations-records")})
    return f"{reverse('account_reauthenticate')}?{query}"
