"""The page that gives an organisation another name."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from core.errors import ConflictError, InvalidError
from tenants.choices import Right
from tenants.requests import OrganisationRequest
from tenants.services import renaming, rights
from tenants.web.forms import show_error


class RenameForm(forms.Form):
    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"autocomplete": "organization"}))
    slug = forms.CharField(
        label="Short name",
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
        help_text="In the address of every page. Pages under the short name before lead to these for members, and nobody "
        "else can take it.",
    )


@require_http_methods(["GET", "HEAD", "POST"])
def rename(request: OrganisationRequest, org: str) -> HttpResponse:
    rights.require(request.membership, Right.MANAGE_SETTINGS)
    organisation = request.organisation
    form = RenameForm(request.POST or None, initial={"name": organisation.name, "slug": organisation.slug})
    if request.method == "POST" and form.is_valid():
        try:
            renamed = renaming.rename(actor=request.membership, **form.cleaned_data)
        except (ConflictError, InvalidError) as error:
            show_error(form, error)
        else:
            request.session["organisation"] = renamed.slug
            messages.success(request, f"The organisation is {renamed.name}, under /o/{renamed.slug}/.")
            return redirect("org:settings", renamed.slug)
    return render(request, "tenants/rename.html", {"form": form}, status=422 if form.errors else 200)
