"""Governing a listed server, for operators: read what it offers, review its tools, give it to a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from audit import services as audit
from catalog.choices import AuthMode, SideEffect, TrustLevel
from catalog.models import Server
from catalog.services import adopting, servers
from catalog.services.adopting import Terms
from core.errors import ConflictError, MarketplaceError
from tenants.models import Tenant
from tenants.requests import MarketRequest
from tenants.web.forms import show_error
from tenants.web.guards import person

# A form has an end; tools behind it count as what they hint at.
CHOICES_MAX = 500
_EFFECT = "effect:"


class AdoptForm(forms.Form):
    """Checks shape; the service keeps the rules."""

    organisation = forms.ModelChoiceField(
        Tenant.objects.filter(suspended_at=None).order_by("name"),
        to_field_name="slug",
        empty_label="Choose an organisation",
        label="Provider",
        help_text="It is told, and says from then on how the server is served and what it costs.",
    )
    slug = forms.CharField(max_length=40, label="Name in paths", widget=forms.TextInput(attrs={"autocomplete": "off"}))
    required_trust = forms.ChoiceField(label="Trust that a grant must give", choices=TrustLevel.choices)
    auth_mode = forms.ChoiceField(
        label="What callers have to show the server",
        choices=AuthMode.choices,
        help_text="Beside the token that says who calls: a credential that each organisation brings.",
    )
    digest = forms.CharField(max_length=64, widget=forms.HiddenInput)


@require_http_methods(["GET", "HEAD", "POST"])
def operations_adopt(request: MarketRequest, listed_id: UUID) -> HttpResponse:
    """What is listed, then what the server says of itself, then the decision."""
    try:
        server = adopting.find_listed(listed_id)
    except ConflictError as error:
        messages.info(request, f"{error.message} {error.next_step}".strip())
        return redirect("operations-import")
    if request.method != "POST":
        return render(request, "operations/adopt.html", {"server": server})
    if "digest" not in request.POST:
        return _review(request, server, None)
    form = AdoptForm(request.POST)
    if form.is_valid():
        try:
            governed = _adopt(request, server, form)
        except MarketplaceError as error:
            show_error(form, error)
        else:
            messages.success(
                request, f"{governed.name} is approved as a server of {form.cleaned_data['organisation']}."
            )
            return redirect("catalog:server", governed.slug)
    return _review(request, server, form)


def _adopt(request: MarketRequest, server: Server, form: AdoptForm) -> Server:
    given = form.cleaned_data
    effects = {
        name.removeprefix(_EFFECT): str(value) for name, value in request.POST.items() if name.startswith(_EFFECT)
    }
    operator = person(request)
    terms = Terms(
        organisation=given["organisation"],
        slug=given["slug"],
        digest=given["digest"],
        required_trust=given["required_trust"],
        auth_mode=given["auth_mode"],
        effects=effects,
    )
    actor = audit.Party("operator", str(operator.pk), operator.email)
    return adopting.adopt(server_id=server.pk, terms=terms, actor=actor)


def _review(request: MarketRequest, server: Server, refused: AdoptForm | None) -> HttpResponse:
    """The tools as the server lists them at this moment, with what each is taken for until somebody says otherwise."""
    try:
        found = adopting.look(server)
    except MarketplaceError as error:
        context: dict[str, Any] = {"server": server, "problem": f"{error.message} {error.next_step or ''}".strip()}
        return render(request, "operations/adopt.html", context, status=422)
    digest = adopting.digest_of(found)
    form = refused or AdoptForm(
        initial={
            "organisation": request.GET.get("organisation", "").replace("\x00", ""),
            "slug": server.slug,
            "required_trust": server.required_trust or TrustLevel.LOW,
            "auth_mode": server.auth_mode or AuthMode.NONE,
            "digest": digest,
        }
    )
    if refused is not None:
        # What is shown is what the next decision is about.
        form.data = {**request.POST.dict(), "digest": digest}
    chosen: Mapping[str, Any] = request.POST if refused is not None else {}
    tools = []
    for position, tool in enumerate(found.tools):
        hinted = servers.suggested(tool).side_effect
        tools.append(
            {
                "definition": tool,
                "name": tool["name"],
                "hinted": SideEffect(hinted).label.lower(),
                "effect": chosen.get(f"{_EFFECT}{tool['name']}", hinted),
                "is_open": position < CHOICES_MAX,
            }
        )
    context = {
        "server": server,
        "form": form,
        "found": found,
        "tools": tools,
        "effects": SideEffect.choices,
        "asked": adopting.policy_of(server),
    }
    return render(request, "operations/adopt.html", context, status=422 if refused is not None else 200)
