"""Where a person lands after signing in: their organisation's catalog, or the page that makes one."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect


@login_required
def landing(request: HttpRequest) -> HttpResponse:
    return redirect("catalog:home" if request.organisation else "organisation-create")
