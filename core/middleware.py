"""Middleware without domain words: request ids, a header, and the one place that turns errors into pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

from core.context import set_request_id
from core.errors import MarketplaceError
from core.ids import uuid7
from core.problems import as_page, as_problem

GetResponse = Callable[[HttpRequest], HttpResponse]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """Static files in one piece: they are small, and under ASGI a streamed file costs a thread hop per block."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        content = found.file.read() if found.file else b""
        response = HttpResponse(content, status=int(found.status))
        del response["content-type"]
        for name, value in found.headers:
            response[name] = value
        return response


class RequestIdMiddleware:
    """Give each request an id, taken from the caller's X-Request-ID when that is harmless, and answer with it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _REQUEST_ID.match(given) else uuid7().hex
        set_request_id(request_id)
        request.request_id = request_id  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class PlainQueryMiddleware:
    """Take NUL out of queries: nothing that is looked for holds one, and Postgres refuses to compare it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        while "%00" in query:  # what is left may join to another
            query = query.replace("%00", "")
        request.META["QUERY_STRING"] = query
        return self.get_response(request)


class PermissionsPolicyMiddleware:
    """Turn off the browser features that no page uses; passkeys stay allowed for ourselves."""

    _POLICY = (
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=(),"
        " clipboard-write=(self), publickey-credentials-get=(self), publickey-credentials-create=(self)"
    )

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Permissions-Policy", self._POLICY)
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        # Some admin views ask for SAMEORIGIN; no page of ours is ever framed.
        response["X-Frame-Options"] = "DENY"
        if not response.has_header("Cache-Control") and getattr(request, "user", None) is not None:
            # Pages depend on who looks at them.
            response["Cache-Control"] = "private, no-cache"
        return response


class ErrorPageMiddleware:
    """Translate our errors: problem+json for API paths, a page with the next step for people."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, MarketplaceError):
            return None
        if request.path.startswith("/api/"):
            return as_problem(exception)
        return as_page(request, exception)
