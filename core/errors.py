"""The one tree of errors, and what each tells a person or a program.

    MarketplaceError
    ├── InvalidError          400  the request is wrong and repeating it will not help
    ├── UnauthenticatedError  401  no usable credential
    ├── PaymentRequiredError  402  allowed, but not paid for
    ├── ForbiddenError        403  known caller, not allowed
    ├── NotFoundError         404  not there, or not for this caller: the two look alike on purpose
    ├── ConflictError         409  true a moment ago, no longer
    ├── TooLargeError         413  over a stated size
    ├── LimitReachedError     429  over a stated rate or count
    ├── UpstreamError         502  the server behind us failed
    ├── UnavailableError      503  we cannot do it safely now
    └── UpstreamTimeoutError  504  the server behind us did not answer in time

Services raise these; each interface (web, REST API, gateway, task) has one place that translates them. `code` is stable and
machine readable (`access.grant_expired`), `message` is safe to show, `next_step` says what to do.
"""

from __future__ import annotations

from typing import Any, ClassVar


class MarketplaceError(Exception):
    """A refusal or failure that a caller is told about; see the module for the kinds."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default_message: ClassVar[str] = "The request could not be completed."
    default_next_step: ClassVar[str] = "Try again; if it persists, contact the operator."

    def __init__(
        self,
        message: str | None = None,
        *,
        next_step: str | None = None,
        code: str | None = None,
        **data: Any,
    ) -> None:
        self.message = message or self.default_message
        self.next_step = next_step or self.default_next_step
        self.error_code = code or self.code
        self.data = data
        super().__init__(self.message)

    def as_problem(self) -> dict[str, Any]:
        """The RFC 9457 members that describe this error."""
        return {
            **self.data,
            "type": f"urn:mcp-marketplace:error:{self.error_code}",
            "title": self.message,
            "status": self.status,
            "code": self.error_code,
            "next_step": self.next_step,
        }


class InvalidError(MarketplaceError):
    code, status = "invalid", 400
    default_message = "The request is not valid."
    default_next_step = "Correct the named field and send it again."


class UnauthenticatedError(MarketplaceError):
    code, status = "unauthenticated", 401
    default_message = "No valid credential was given."
    default_next_step = "Send an API key as `Authorization: Bearer <key>`."


class PaymentRequiredError(MarketplaceError):
    code, status = "payment_required", 402


class ForbiddenError(MarketplaceError):
    code, status = "forbidden", 403
    default_message = "You may not do this."
    default_next_step = "Ask an owner or admin of the organisation."


class NotFoundError(MarketplaceError):
    code, status = "not_found", 404
    default_message = "There is nothing here that you may see."
    default_next_step = "Check the name, or search the catalog."


class ConflictError(MarketplaceError):
    code, status = "conflict", 409
    default_next_step = "Reload and decide again."


class TooLargeError(MarketplaceError):
    code, status = "too_large", 413


class LimitReachedError(MarketplaceError):
    code, status, retryable = "limit_reached", 429, True


class UpstreamError(MarketplaceError):
    code, status, retryable = "upstream_failed", 502, True
    default_message = "The server did not answer as it should."
    default_next_step = "Try again later; the server's page shows its health."


class UnavailableError(MarketplaceError):
    code, status, retryable = "unavailable", 503, True
    default_message = "The service cannot do this safely right now."
    default_next_step = "Try again in a few seconds."


class UpstreamTimeoutError(MarketplaceError):
    code, status, retryable = "upstream_timeout", 504, True
    default_message = "The server did not answer in time."
    default_next_step = "Try again later, or ask for less at once."
