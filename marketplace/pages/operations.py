"""Pages of operators beside the admin. `tenants.middleware.OperatorMiddleware` lets only operators come here."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from tenants.requests import MarketRequest
from tenants.web.settings import settings_page as show_settings


@require_http_methods(["GET", "POST"])
def settings_page(request: MarketRequest) -> HttpResponse:
    """Every setting of the platform."""
    context = {"manages": True, "who_can": "", "action": reverse("operations-settings")}
    return show_settings(request, "operations/settings.html", context, None)
