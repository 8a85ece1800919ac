"""The pages for what Django itself refuses, and for our own faults."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from core.errors import ForbiddenError, InvalidError, MarketplaceError, NotFoundError
from core.problems import as_page, as_problem


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, InvalidError("The request could not be read."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, ForbiddenError())


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, NotFoundError())


def server_error(request: HttpRequest) -> HttpResponse:
    request_id = getattr(request, "request_id", "")
    return _answer(
        request,
        MarketplaceError(
            "This page failed on our side, and the failure is logged.",
            next_step=f"Try again; if it persists, give the operator the request id {request_id}.",
            request_id=request_id,
        ),
    )


def _answer(request: HttpRequest, error: MarketplaceError) -> HttpResponse:
    return as_problem(error) if request.path.startswith("/api/") else as_page(request, error)
