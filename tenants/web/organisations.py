"""Creating an organisation."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from core.errors import ConflictError, InvalidError
from tenants.requests import MarketRequest
from tenants.services import onboarding, organisations
from tenants.web.forms import OrganisationForm, show_error
from tenants.web.guards import person


@login_required
@require_http_methods(["GET", "POST"])
def create(request: MarketRequest) -> HttpResponse:
    """With `?name=` it suggests a short name, which is how the field follows while somebody types."""
    founder = person(request)
    organisations.check_may_found(founder)
    form = OrganisationForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        try:
            tenant = organisations.found(**form.cleaned_data, founder=founder)
        except (ConflictError, InvalidError) as error:
            show_error(form, error)
        else:
            request.session["organisation"] = tenant.slug
            messages.success(request, f"{tenant.name} is ready. Choose a server, then create a key for it.")
            return redirect("catalog:home")
    name = str(form["name"].value() or "")
    form.fields["slug"].widget.attrs["placeholder"] = onboarding.suggest_slug(name) or "acme"
    status = 422 if form.errors else 200
    return render(request, "tenants/organisation_create.html", {"form": form}, status=status)
