"""The applications that a person allowed to act for them."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from core.errors import NotFoundError
from tenants.requests import MarketRequest
from tenants.selectors import consents as selectors
from tenants.services import consents
from tenants.web.guards import person


@login_required
@require_safe
def applications(request: MarketRequest) -> HttpResponse:
    return render(request, "tenants/applications.html", {"applications": selectors.of_person(person(request))})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: MarketRequest, consent_id: UUID) -> HttpResponse:
    user = person(request)
    consent = selectors.of_person(user).filter(pk=consent_id).first()
    if consent is None:
        raise NotFoundError("You have no such application.")
    if request.method == "POST":
        consents.revoke(consent.pk, actor=user, user=user)
        messages.success(request, f"“{consent.name}” no longer acts for you.")
        return redirect("applications")
    return render(request, "tenants/application_revoke.html", {"consent": consent})
