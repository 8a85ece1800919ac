"""Who asks, and with what right: for pages, also those of apps that know no rights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from tenants.choices import Right
from tenants.models import User
from tenants.requests import OrganisationRequest
from tenants.services import rights

type_view = Callable[..., HttpResponse]


def needs(right: Right) -> Callable[[type_view], type_view]:
    """Let a page of an organisation answer only to members with the right; others get a 403 that names who can help."""

    def decorate(view: type_view) -> type_view:
        @functools.wraps(view)
        def guarded(request: OrganisationRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            rights.require(request.membership, right)
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def person(request: HttpRequest) -> User:
    """Who is signed in, on a page that only the signed-in reach."""
    assert isinstance(request.user, User), "the page is open to the anonymous"
    return request.user
