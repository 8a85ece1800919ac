"""Where a person lands after signing in: their organisation's catalog, or the page that makes one."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect

from tenants.requests import MarketRequest


@login_required
def landing(request: MarketRequest) -> HttpResponse:
    return redirect("catalog:home" if request.organisation else "organisation-create")
