"""Errors in the shape of Stripe's API."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any


class ApiError(Exception):
    """An answer that is an error. What was done before it was raised stays done, as with a declined card."""

    def __init__(self, status: int, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "message": message, **more}}


def invalid(message: str, *, param: str = "", code: str = "") -> ApiError:
    more = {name: value for name, value in (("param", param), ("code", code)) if value}
    return ApiError(HTTPStatus.BAD_REQUEST, "invalid_request_error", message, **more)


def missing(kind: str, identifier: str, *, param: str = "id", status: int = HTTPStatus.NOT_FOUND) -> ApiError:
    message = f"No such {kind}: '{identifier}'"
    return ApiError(status, "invalid_request_error", message, code="resource_missing", param=param)


def declined(code: str, decline_code: str, message: str, **more: Any) -> ApiError:
    extra = {"decline_code": decline_code} if decline_code else {}
    return ApiError(HTTPStatus.PAYMENT_REQUIRED, "card_error", message, code=code, **extra, **more)
