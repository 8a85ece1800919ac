"""The inbox of a person in one organisation: unread first, then newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from notifications import selectors, services

if TYPE_CHECKING:
    from tenants.requests import OrganisationRequest

_PAGE = 25


@require_http_methods(["GET", "POST"])
def inbox(request: OrganisationRequest, org: str) -> HttpResponse:
    """A POST marks all as read, or the one that it names; `open` then leads to what that one is about."""
    if request.method == "POST":
        return _mark(request, org)
    rows = selectors.unread_first(request.user.pk)
    page = Paginator(rows, _PAGE).get_page(request.GET.get("page"))
    unread = selectors.inbox(request.user.pk).filter(read_at=None).count()
    return render(request, "notifications/inbox.html", {"page": page, "unread_count": unread})


def _mark(request: OrganisationRequest, org: str) -> HttpResponse:
    named = request.POST.get("notification", "")
    if not named:
        services.mark_read(request.user.pk)
        return redirect("org:notifications", org)
    try:
        notification = selectors.inbox(request.user.pk).filter(pk=UUID(named)).first()
    except ValueError:
        notification = None
    if notification is None:
        return redirect("org:notifications", org)
    services.mark_read(request.user.pk, [notification.pk])
    # Only paths of ours: "//host" and "/\host" would leave the site.
    if "open" in request.POST and notification.url.startswith("/") and notification.url[1:2] not in {"/", "\\"}:
        return redirect(notification.url)
    return redirect("org:notifications", org)
