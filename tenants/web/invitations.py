"""Accepting an invitation: one page that says what it is and what to do next, in whatever state the link is."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from core.errors import ConflictError
from tenants.requests import MarketRequest
from tenants.services import invitations


@never_cache
@require_http_methods(["GET", "POST"])
def accept(request: MarketRequest, token: str) -> HttpResponse:
    invitation = invitations.get_by_token(token)
    user = request.user if request.user.is_authenticated else None
    obstacle = invitations.obstacle(invitation, user)
    if request.method == "POST" and user is not None and not obstacle:
        try:
            invitations.accept(token=token, user=user)
        except ConflictError as error:
            messages.info(request, f"{error.message} {error.next_step}")
        else:
            messages.success(request, f"Welcome to {invitation.tenant.name}.")
        request.session["organisation"] = invitation.tenant.slug
        return redirect("org:home", invitation.tenant.slug)
    back = urlencode({"next": request.path})
    context = {
        "invitation": invitation,
        "obstacle": obstacle,
        "login_url": f"{reverse('account_login')}?{back}",
        "signup_url": f"{reverse('account_signup')}?{back}",
    }
    status = (
        410
        if obstacle in {"accepted", "withdrawn", "expired"}
        else 403
        if obstacle in {"foreign", "unverified"}
        else 200
    )
    return render(request, "tenants/invitation.html", context, status=status)
