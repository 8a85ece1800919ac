"""Pages of operators beside the admin. `tenants.middleware.OperatorMiddleware` lets only operators come here."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from audit import services as audit
from tenants.context import platform_scope, tenant_scope
from tenants.middleware import RECORDS_SESSION_KEY
from tenants.models import Tenant
from tenants.requests import MarketRequest
from tenants.web.guards import person
from tenants.web.settings import settings_page as show_settings


class RecordsForm(forms.Form):
    """Whose records an operator opens, and why: both go into that organisation's own audit log."""

    organisation = forms.ModelChoiceField(
        Tenant.objects.order_by("name"), to_field_name="slug", empty_label="Choose an organisation"
    )
    reason = forms.CharField(
        max_length=300,
        help_text="The organisation reads this in its audit log, with your address.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


@require_http_methods(["GET", "POST"])
def settings_page(request: MarketRequest) -> HttpResponse:
    """Every setting of the platform."""
    context = {"manages": True, "who_can": "", "action": reverse("operations-settings")}
    return show_settings(request, "operations/settings.html", context, None)


@require_http_methods(["GET", "POST"])
def choose_records(request: MarketRequest) -> HttpResponse:
    """Open the records of one organisation for reading in the admin, or close them again."""
    if request.method == "POST" and "close" in request.POST:
        request.session.pop(RECORDS_SESSION_KEY, None)
        messages.success(request, "No organisation's records are open.")
        return redirect("operations-records")
    form = RecordsForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        tenant = form.cleaned_data["organisation"]
        _record_opening(request, tenant, form.cleaned_data["reason"])
        request.session[RECORDS_SESSION_KEY] = str(tenant.pk)
        messages.success(request, f"The records of {tenant.name} are open for reading.")
        return redirect("operations-records")
    opened = Tenant.objects.filter(pk=str(request.session.get(RECORDS_SESSION_KEY) or UUID(int=0))).first()
    context = {"form": form, "opened": opened}
    return render(request, "operations/records.html", context, status=422 if form.errors else 200)


def _record_opening(request: MarketRequest, tenant: Tenant, reason: str) -> None:
    """Both sides keep the fact: the organisation sees who looked, the platform sees where its operators looked."""
    operator = person(request)
    actor = audit.Party("operator", str(operator.pk), operator.email)
    target = audit.Party("organisation", str(tenant.pk), tenant.name)
    with transaction.atomic():
        for scope in (tenant_scope(tenant), platform_scope()):
            with scope:
                audit.record("operations:records:opened", actor=actor, target=target, data={"reason": reason})
