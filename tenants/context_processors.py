"""What every page's frame shows: the organisations of this person, the rail, unread notifications, the development mailbox."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from tenants.selectors.frame import build_frame


def frame(request: HttpRequest) -> dict[str, Any]:
    return {"frame": build_frame(request), "mailbox_url": reverse("mailbox") if settings.MAILBOX_PAGE else ""}
