"""Pages of an organisation about listings that it claims: which, what proves them, and whether the proof was found."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from catalog.claims import rules
from catalog.models import ListingClaim, Server
from catalog.selectors import detail
from catalog.services import claiming
from catalog.web.viewers import viewer_of
from core.errors import MarketplaceError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require
from tenants.web.forms import show_error

SHOWN = 200


class ClaimForm(forms.Form):
    """Checks shape; the service keeps the rules."""

    source = forms.TypedChoiceField(
        label="Which source do you publish it to yourself?",
        coerce=UUID,
        help_text="Once your claim is proven, what this source says of the server is shown before all others.",
    )
    reason = forms.CharField(
        label="What operators should know",
        required=False,
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, data: Any = None, *, server: Server) -> None:
        super().__init__(data)
        field = self.fields["source"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = [
            (str(entry.source_id), f"{entry.source_name}: {entry.external_id}"[:120])
            for entry in detail.list_sources(server)
        ]


@require_safe
def claim_list(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.PUBLISH)
    rows = ListingClaim.objects.select_related("server").filter(tenant=request.organisation)[:SHOWN]
    return render(request, "claims/list.html", {"rows": rows})


@require_http_methods(["GET", "HEAD", "POST"])
def claim_create(request: OrganisationRequest, org: str) -> HttpResponse:
    """The listing is named in the address (`?server=`), as its page does."""
    require(request.membership, Right.PUBLISH)
    try:
        server = claiming.find_listing(viewer_of(request), request.GET.get("server", "").replace("\x00", ""))
    except MarketplaceError as error:
        return render(request, "claims/create.html", {"problem": error}, status=error.status)
    namespace = rules.namespace_of(server.registry_name)
    form = ClaimForm(request.POST if request.method == "POST" else None, server=server)
    if request.method == "POST" and form.is_valid():
        try:
            row = claiming.claim(
                actor=request.membership,
                server=server,
                source_id=form.cleaned_data["source"],
                reason=form.cleaned_data["reason"],
            )
        except MarketplaceError as error:
            show_error(form, error)
        else:
            return redirect("org:claim", org, row.pk)
    context = {
        "server": server,
        "form": form,
        "namespace": namespace,
        "domain": rules.domain_of(namespace),
        "why_no_domain": rules.why_no_domain(namespace),
    }
    return render(request, "claims/create.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def claim_detail(request: OrganisationRequest, org: str, claim_id: UUID) -> HttpResponse:
    """What to publish, and the check; posting names the way (`method`)."""
    require(request.membership, Right.PUBLISH)
    row = claiming.find(request.organisation, claim_id)
    if request.method == "POST":
        try:
            claiming.check(actor=request.membership, claim_id=claim_id, method=request.POST.get("method", ""))
        except MarketplaceError as error:
            messages.error(request, f"{error.message} {error.next_step}".strip())
        else:
            messages.success(request, f"The proof is there: {row.namespace} is yours.")
        return redirect("org:claim", org, claim_id)
    context = {"claim": row, "challenge": row.challenge, "why_no_domain": rules.why_no_domain(row.namespace)}
    return render(request, "claims/detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def claim_give_up(request: OrganisationRequest, org: str, claim_id: UUID) -> HttpResponse:
    require(request.membership, Right.PUBLISH)
    row = claiming.find(request.organisation, claim_id)
    if request.method == "POST":
        try:
            claiming.give_up(actor=request.membership, claim_id=claim_id)
        except MarketplaceError as error:
            messages.error(request, f"{error.message} {error.next_step}".strip())
        else:
            messages.success(request, f"Your organisation claims {row.server.name} no more.")
        return redirect("org:claims", org)
    return render(request, "claims/give_up.html", {"claim": row})
