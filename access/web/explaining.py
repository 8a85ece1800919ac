"""The ways to ask about access, as links between their pages."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from tenants.choices import Right
from tenants.requests import OrganisationRequest

_WAYS = (
    ("call", "One call", "org:access-explain"),
    ("who", "Who can call a tool", "org:access-who"),
    ("can", "What a caller can do", "org:access-can"),
    ("simulate", "What a change would mean", "org:access-simulate"),
)


def ways_to_ask(request: OrganisationRequest, active: str) -> list[dict[str, Any]]:
    """For components/_chips.html; what a person may not ask is left out."""
    all_of_them = request.membership.can(Right.MANAGE_ACCESS) or request.membership.can(Right.VIEW_AUDIT)
    org = request.organisation.slug
    return [
        {"label": label, "url": reverse(url, args=[org]), "active": name == active}
        for name, label, url in _WAYS
        if name != "simulate" or all_of_them
    ]
