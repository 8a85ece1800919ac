"""Pages of an organisation about the servers that it publishes: which they are, and how they are served."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from audit import services as audit
from catalog.choices import Status, UpstreamAuth
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.services import serving
from catalog.services.serving import RATE_MAX, TIMEOUT_S_MAX, URLS_MAX, Serving
from catalog.web.viewers import viewer_of
from core.errors import MarketplaceError, NotFoundError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services.rights import require
from tenants.web.forms import show_error

PAGE_SIZE = 50
_AUTH_WORDS = {
    UpstreamAuth.HEADER: "A signed token in the header X-Marketplace-Token, beside whatever callers have to show",
    UpstreamAuth.BEARER: "A signed token in Authorization, unless the caller's organisation shows a credential there",
    UpstreamAuth.NONE: "Nothing: the server cannot tell our calls from others",
}


class ServingForm(forms.Form):
    """Checks shape; the service keeps the rules."""

    further_urls = forms.CharField(
        required=False,
        max_length=URLS_MAX * 600,
        label="Further addresses",
        widget=forms.Textarea(
            attrs={"rows": 3, "spellcheck": "false", "placeholder": "https://eu.example.com/mcp", "class": "mono"}
        ),
        help_text=(
            f"Where the same server answers too, one a line, at most {URLS_MAX}. Calls go round all addresses, and one that "
            "fails is passed over until it answers again. Credentials go only to the origin that they were entered for."
        ),
    )
    rate_per_caller = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=RATE_MAX,
        label="Requests a minute of each organisation",
        help_text="Beyond it, that organisation is refused with a time to come back. Empty: no limit of yours.",
    )
    rate_in_all = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=RATE_MAX,
        label="Requests a minute in all",
        help_text="What the server takes from everybody together, counted over all gateways. Empty: no limit of yours.",
    )
    timeout_s = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=TIMEOUT_S_MAX,
        label="Seconds until an answer must begin",
    )
    upstream_auth = forms.ChoiceField(
        label="How the server learns who calls",
        choices=[(mode.value, _AUTH_WORDS[mode]) for mode in UpstreamAuth],
        widget=forms.RadioSelect,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["timeout_s"].help_text = (
            f"From 1 to {TIMEOUT_S_MAX}. Empty: the {settings.GATEWAY_FIRST_BYTE_S} seconds that the gateway gives. "
            "A call that takes longer is ended as a timeout, and is free."
        )

    def serving(self) -> Serving:
        data = dict(self.cleaned_data)
        lines = [line.strip() for line in data.pop("further_urls").splitlines()]
        return Serving(further_urls=tuple(line for line in lines if line), **data)


@require_safe
def server_list(request: OrganisationRequest, org: str) -> HttpResponse:
    require(request.membership, Right.PUBLISH)
    page = Paginator(_own(request).order_by("name"), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "serving/list.html", {"page": page})


@require_http_methods(["GET", "HEAD", "POST"])
def server_settings(request: OrganisationRequest, org: str, slug: str) -> HttpResponse:
    require(request.membership, Right.PUBLISH)
    server = _get(request, slug)
    kept = asdict(Serving.of(server))
    initial = {**kept, "further_urls": "\n".join(kept["further_urls"])}
    form = ServingForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            serving.change(
                server_id=server.pk, owner_id=request.organisation.pk, serving=form.serving(), actor=_actor(request)
            )
        except MarketplaceError as error:
            show_error(form, error)
        else:
            messages.success(request, f"Saved how {server.name} is served. Gateways follow within a second.")
            return redirect("org:server-settings", org, server.slug)
    context = {"server": server, "form": form, "closed_by_operators": serving.is_closed_by_operators(server)}
    return render(request, "serving/settings.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def server_gateway(request: OrganisationRequest, org: str, slug: str) -> HttpResponse:
    """Open or close a server at the gateway. Closing asks first."""
    require(request.membership, Right.PUBLISH)
    server = _get(request, slug)
    if request.method == "POST":
        is_open = request.POST.get("open") == "yes"
        try:
            serving.open_own(
                server_id=server.pk, owner_id=request.organisation.pk, is_open=is_open, actor=_actor(request)
            )
        except MarketplaceError as error:
            messages.error(request, f"{error.message} {error.next_step}")
        else:
            done = "open to calls that a grant allows" if is_open else "closed: every call is refused"
            messages.success(request, f"{server.name} is {done}.")
        return redirect("org:server-settings", org, server.slug)
    back = reverse("org:server-settings", args=[org, server.slug])
    return render(request, "serving/gateway.html", {"server": server, "back": back})


def _own(request: OrganisationRequest) -> QuerySet[Server]:
    """The organisation's servers that this person may see."""
    return visible_to(viewer_of(request)).filter(owner_tenant_id=request.organisation.pk).exclude(status=Status.REMOVED)


def _get(request: OrganisationRequest, slug: str) -> Server:
    server = _own(request).filter(slug=slug).first()
    if server is None:
        raise NotFoundError("There is no such server in this organisation.")
    return server


def _actor(request: OrganisationRequest) -> audit.Party:
    return audit.Party("user", str(request.user.pk), request.user.email)
