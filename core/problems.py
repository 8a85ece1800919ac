"""Errors as answers: RFC 9457 problem+json for programs, a page for people."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from rest_framework import exceptions as drf
from rest_framework.response import Response

from core.errors import (
    ForbiddenError,
    InvalidError,
    LimitReachedError,
    MarketplaceError,
    NotFoundError,
    UnauthenticatedError,
)

CONTENT_TYPE = "application/problem+json"


def as_problem(error: MarketplaceError) -> JsonResponse:
    response = JsonResponse(error.as_problem(), status=error.status, content_type=CONTENT_TYPE)
    _headers(response, error)
    return response


def as_page(request: HttpRequest, error: MarketplaceError) -> HttpResponse:
    template = {403: "403.html", 404: "404.html"}.get(error.status, "error.html")
    html = render_to_string(
        template,
        {"error": error, "status": error.status, "message": error.message, "next_step": error.next_step},
        request=request,
    )
    return HttpResponse(html, status=error.status)


def exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """The REST API's translator: every error leaves as problem+json with a code and a next step."""
    error = _ours(exception)
    if error is None:
        return None
    response = Response(error.as_problem(), status=error.status, content_type=CONTENT_TYPE)
    _headers(response, error)
    return response


def _ours(exception: Exception) -> MarketplaceError | None:
    match exception:
        case MarketplaceError():
            return exception
        case Http404() | drf.NotFound():
            return NotFoundError()
        case drf.NotAuthenticated() | drf.AuthenticationFailed():
            return UnauthenticatedError(str(exception.detail) if exception.detail else None)
        case PermissionDenied() | drf.PermissionDenied():
            return ForbiddenError()
        case drf.Throttled():
            return LimitReachedError(str(exception.detail), retry_after=getattr(exception, "wait", None))
        case drf.ValidationError():
            return InvalidError("Some fields are not valid.", code="invalid_fields", fields=exception.detail)
        case drf.APIException():
            error = InvalidError(str(exception.detail), code=str(exception.default_code))
            vars(error)["status"] = exception.status_code  # the parser's own, such as 415
            return error
    return None


def _headers(response: HttpResponse, error: MarketplaceError) -> None:
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="mcp-marketplace"'
    if error.retryable:
        response["Retry-After"] = str(error.data.get("retry_after") or 2)
