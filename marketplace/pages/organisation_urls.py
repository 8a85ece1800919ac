"""The pages of one organisation, `/o/<org>/…`: one list, composed of the apps' pages.

`tenants.middleware` has resolved the organisation and the membership before any of these views runs.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path

app_name = "org"


def home(request: HttpRequest, org: str) -> HttpResponse:
    return redirect("org:calls", org)


urlpatterns = [
    path("", home, name="home"),
]
