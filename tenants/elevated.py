"""The elevation that a browser of an operator has, asked for once a request."""

from __future__ import annotations

from django.http import HttpRequest

from tenants.models import Elevation
from tenants.services import elevations

SESSION_KEY = "operator_elevation"
_KEPT = "_elevation"


def elevation_of(request: HttpRequest) -> Elevation | None:
    """None for everybody but an operator who opened a view in this browser that lasts still."""
    if not hasattr(request, _KEPT):
        setattr(request, _KEPT, _find(request))
    found: Elevation | None = getattr(request, _KEPT)
    return found if found is not None and found.is_live else None


def _find(request: HttpRequest) -> Elevation | None:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not user.is_staff or SESSION_KEY not in request.session:
        return None
    return elevations.find_live(request.session[SESSION_KEY], user)
