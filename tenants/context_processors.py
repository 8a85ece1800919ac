"""What every page's frame shows: the organisations of this person, the rail, unread notifications."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from tenants.selectors.frame import build_frame


def frame(request: HttpRequest) -> dict[str, Any]:
    return {"frame": build_frame(request)}
