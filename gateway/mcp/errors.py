"""Every refusal of the gateway, in one table: stable code, JSON-RPC code, HTTP status, words.

JSON-RPC codes of the protocol are used where the protocol defines the situation (-327xx, -32600, -32601, -32602, -32020).
Our own codes lie outside -32768..-32000, as the specification asks, and start with the HTTP status they travel with.
`data` of the JSON-RPC error and the problem document carry the stable code, the reason stored with the call and the next step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from access.types import Decision, Reason
from calls.record import Outcome
from core.errors import MarketplaceError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020


@dataclass(frozen=True, slots=True)
class Kind:
    code: str
    rpc_code: int
    status: int
    message: str
    next_step: str = ""
    reason: Reason | None = None
    outcome: Outcome = Outcome.DENIED
    retry_after_s: int = 0


_KEY_STEP = "Send an API key as `Authorization: Bearer <key>`, or sign in with OAuth at the same address without it."
_SHAPE_STEP = "Correct the request and send it again."
_ASK_STEP = "Ask an admin of your organisation for access to this server."
_LATER_STEP = "Try again in a few seconds."

KINDS: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        # HTTP
        Kind("gateway.host_unknown", INVALID_REQUEST, 421, "This gateway does not answer for that host.", _SHAPE_STEP),
        Kind(
            "gateway.origin_refused", INVALID_REQUEST, 403, "Requests from this origin are not accepted.", _SHAPE_STEP
        ),
        Kind("gateway.method_not_allowed", INVALID_REQUEST, 405, "Send requests with POST.", _SHAPE_STEP),
        Kind("gateway.not_found", INVALID_REQUEST, 404, "There is no such endpoint.", "Use /mcp/<server>."),
        Kind("gateway.headers_invalid", INVALID_REQUEST, 400, "The request's headers are not acceptable.", _SHAPE_STEP),
        Kind("gateway.header_duplicated", HEADER_MISMATCH, 400, "A header was sent more than once.", _SHAPE_STEP),
        Kind("gateway.media_type", INVALID_REQUEST, 415, "Send the request as application/json.", _SHAPE_STEP),
        Kind(
            "gateway.not_acceptable",
            INVALID_REQUEST,
            406,
            "Accept both application/json and text/event-stream.",
            _SHAPE_STEP,
        ),
        Kind("gateway.too_large", INVALID_REQUEST, 413, "The request is too large.", "Send a smaller request."),
        Kind("gateway.body_timeout", INVALID_REQUEST, 408, "The request's body did not arrive in time.", _SHAPE_STEP),
        # the caller
        Kind("access.unauthenticated", 40100, 401, "No valid API key was given.", _KEY_STEP),
        Kind(
            "access.key_needed",
            40305,
            403,
            "A token cannot be exchanged for another.",
            "Send the API key itself to /v1/token.",
        ),
        Kind(
            "access.tokens_too_often",
            42903,
            429,
            "This API key has asked for too many tokens.",
            "Use a token until it ends; ask again in a minute.",
            retry_after_s=60,
        ),
        # the message
        Kind("gateway.parse_error", PARSE_ERROR, 400, "The body is not valid JSON.", _SHAPE_STEP),
        Kind(
            "gateway.request_invalid",
            INVALID_REQUEST,
            400,
            "The message is not a valid request.",
            _SHAPE_STEP,
            Reason.REQUEST_INVALID,
        ),
        Kind(
            "gateway.params_invalid",
            INVALID_PARAMS,
            400,
            "The parameters are not valid.",
            _SHAPE_STEP,
            Reason.REQUEST_INVALID,
        ),
        Kind(
            "gateway.header_mismatch",
            HEADER_MISMATCH,
            400,
            "A header and the body disagree.",
            _SHAPE_STEP,
            Reason.REQUEST_INVALID,
        ),
        Kind(
            "gateway.request_state_invalid",
            INVALID_PARAMS,
            400,
            "Invalid or expired requestState.",
            "Send the request again without requestState.",
            Reason.REQUEST_INVALID,
        ),
        Kind(
            "gateway.name_unknown",
            INVALID_PARAMS,
            400,
            "There is nothing of that name here.",
            "List what there is, or search with marketplace_search_tools.",
            Reason.TOOL_UNKNOWN,
        ),
        Kind(
            "gateway.task_unknown",
            INVALID_PARAMS,
            400,
            "There is no such task of yours.",
            "Ask with the key and at the server that started the task, within seven days.",
            Reason.REQUEST_INVALID,
        ),
        Kind(
            "gateway.session_missing",
            INVALID_REQUEST,
            400,
            "Bad Request: Missing session ID.",
            "Send `initialize` first, and its Mcp-Session-Id with every request after it.",
            Reason.REQUEST_INVALID,
        ),
        Kind(
            "gateway.session_state_unavailable",
            50307,
            503,
            "What belongs to the session cannot be stored right now.",
            _LATER_STEP,
            Reason.REQUEST_INVALID,
            retry_after_s=2,
        ),
        Kind("gateway.session_unknown", INVALID_REQUEST, 404, "Session not found", "Initialize again."),
        # the decision
        Kind(
            "access.server_unknown",
            40400,
            404,
            "There is no server of that name that you may see.",
            "Check the name, or search the catalog.",
            Reason.SERVER_UNKNOWN,
        ),
        Kind(
            "access.server_not_in_key",
            40301,
            403,
            "This API key is limited to other servers.",
            "Use another key, or create one that covers this server.",
            Reason.SERVER_NOT_IN_KEY,
        ),
        Kind(
            "access.server_not_ready",
            50301,
            503,
            "This server cannot be called at present.",
            "See the server's page for its state.",
            Reason.SERVER_NOT_READY,
        ),
        Kind(
            "access.scope_missing",
            40302,
            403,
            "This API key may not call servers.",
            "Use a key with the scope invoke.",
            Reason.SCOPE_MISSING,
        ),
        Kind("access.denied", 40300, 403, "Your organisation's policy does not allow this.", _ASK_STEP),
        Kind("access.method_unknown", METHOD_NOT_FOUND, 404, "The method is not known.", reason=Reason.METHOD_UNKNOWN),
        Kind(
            "access.policy_unavailable",
            50302,
            503,
            "Access rules cannot be read right now, so nothing is allowed.",
            _LATER_STEP,
            Reason.POLICY_UNAVAILABLE,
            retry_after_s=2,
        ),
        # people
        Kind(
            "access.approval_required",
            40320,
            403,
            "A person has to approve this call.",
            "Send the same call again once it is approved; it then passes once.",
            Reason.APPROVAL_REQUIRED,
            retry_after_s=10,
        ),
        Kind(
            "access.flow_forbidden",
            40323,
            403,
            "With this call the session would have touched what must not meet.",
            "Begin another session; people who manage access see under Access, Flow, what this one has touched.",
            Reason.FLOW_FORBIDDEN,
        ),
        Kind(
            "access.approval_rejected",
            40321,
            403,
            "A person rejected this call.",
            "Read why, and call with other arguments.",
            Reason.APPROVAL_REJECTED,
        ),
        Kind(
            "access.approvals_full",
            42910,
            429,
            "Too many calls of this key wait for a person already.",
            "Wait until some of them are decided.",
            Reason.APPROVAL_REQUIRED,
            retry_after_s=60,
        ),
        Kind(
            "access.approval_too_large",
            41320,
            413,
            "A person has to approve this call, and its arguments are too large to be looked at.",
            "Send less in one call.",
            Reason.APPROVAL_REQUIRED,
        ),
        # limits
        Kind(
            "limits.rate",
            42900,
            429,
            "A rate limit is used up.",
            "Wait as long as Retry-After says.",
            Reason.RATE_LIMITED,
            retry_after_s=1,
        ),
        Kind(
            "limits.quota",
            42902,
            429,
            "A quota is used up.",
            "Wait for the next period, or ask an admin of your organisation to raise the quota.",
            Reason.QUOTA_REACHED,
        ),
        Kind(
            "limits.cap",
            40200,
            402,
            "A spending cap does not allow the price of this call.",
            "Wait for the next period, or ask an admin of your organisation to raise the cap.",
            Reason.CAP_REACHED,
        ),
        Kind(
            "billing.payment_due",
            40210,
            402,
            "An invoice of your organisation is not paid, so tools with a price are stopped. Free tools go on.",
            "Ask somebody who looks after billing to pay it: <page>",
            Reason.PAYMENT_DUE,
        ),
        Kind(
            "billing.credit_used_up",
            40220,
            402,
            "The prepaid credit of your organisation does not cover the price of this call. Free tools go on.",
            "Ask somebody who looks after billing to buy credit, under Billing, Credit.",
            Reason.CAP_REACHED,
        ),
        Kind(
            "limits.unavailable",
            50306,
            503,
            "What was already spent cannot be looked up, and this call has a price.",
            _LATER_STEP,
            Reason.LIMITS_UNAVAILABLE,
            retry_after_s=2,
        ),
        Kind(
            "limits.concurrency",
            50305,
            503,
            "Too many calls of your organisation are under way.",
            "Wait for some of them, or send fewer at once.",
            Reason.TOO_MANY_AT_ONCE,
            retry_after_s=1,
        ),
        Kind(
            "limits.streams",
            42901,
            429,
            "Too many streams are open.",
            "Close some of them first.",
            Reason.TOO_MANY_AT_ONCE,
            retry_after_s=5,
        ),
        # as whom the server is called
        Kind(
            "access.credential_missing",
            40311,
            403,
            "This server needs a credential of your organisation, and there is none.",
            "Ask an admin to add one: <page>",
            Reason.CREDENTIAL_MISSING,
        ),
        Kind(
            "access.account_not_connected",
            40312,
            403,
            "This server acts for a person, and the owner of this API key has not connected an account.",
            "Open <page> and connect it.",
            Reason.ACCOUNT_NOT_CONNECTED,
        ),
        Kind(
            "upstream.credential_unreadable",
            50311,
            503,
            "The stored credential for this server cannot be read.",
            "Ask an admin of your organisation to enter it again.",
            Reason.CREDENTIAL_MISSING,
        ),
        Kind(
            "upstream.credential_expired",
            50312,
            503,
            "The credential for this server has expired and could not be renewed.",
            "Try again in a minute; if it persists, connect the account again.",
            Reason.CREDENTIAL_MISSING,
            retry_after_s=30,
        ),
        Kind(
            "gateway.signing_unavailable",
            50313,
            503,
            "The gateway has no key to sign requests with yet.",
            _LATER_STEP,
            Reason.POLICY_UNAVAILABLE,
            retry_after_s=2,
        ),
        Kind(
            "upstream.credential_rejected",
            50211,
            502,
            "The server did not accept the credential that it was called with.",
            "Ask an admin of your organisation to check the connection to this server.",
            outcome=Outcome.UPSTREAM_ERROR,
        ),
        # the server
        Kind(
            "upstream.failed",
            50200,
            502,
            "The server did not answer as it should.",
            "Try again later; the server's page shows its health.",
            outcome=Outcome.UPSTREAM_ERROR,
        ),
        Kind(
            "upstream.busy",
            50303,
            503,
            "Too many calls to this server are under way.",
            _LATER_STEP,
            outcome=Outcome.UPSTREAM_ERROR,
            retry_after_s=1,
        ),
        Kind(
            "upstream.unavailable",
            50304,
            503,
            "The server keeps failing and is left alone for a while.",
            "Try again after the time that Retry-After names.",
            outcome=Outcome.UPSTREAM_ERROR,
            retry_after_s=1,
        ),
        Kind(
            "upstream.too_large",
            50203,
            502,
            "The server's answer is larger than is accepted.",
            "Ask for less at once, or in pages.",
            outcome=Outcome.UPSTREAM_ERROR,
        ),
        Kind(
            "upstream.timeout",
            50400,
            504,
            "The server did not answer in time.",
            "Try again later, or ask for less at once.",
            outcome=Outcome.TIMEOUT,
        ),
        Kind(
            "upstream.refused",
            50201,
            502,
            "The server's address may not be connected to.",
            "Ask the operator to check the server's address.",
            outcome=Outcome.UPSTREAM_ERROR,
        ),
        Kind(
            "upstream.rpc_error",
            50202,
            502,
            "The server answered with an error.",
            "Check the arguments against the tool's schema.",
            outcome=Outcome.TOOL_ERROR,
        ),
        Kind("upstream.cancelled", 49900, 499, "The caller left before the answer.", outcome=Outcome.UNKNOWN),
        # the record
        Kind(
            "calls.not_recorded",
            50300,
            503,
            "The call could not be recorded, so its answer is withheld.",
            _LATER_STEP,
            outcome=Outcome.UNKNOWN,
            retry_after_s=2,
        ),
        Kind(
            "calls.record_unavailable",
            50310,
            503,
            "Calls cannot be recorded at the moment, so this one was not begun.",
            _LATER_STEP,
            Reason.RECORD_UNAVAILABLE,
            retry_after_s=5,
        ),
        Kind("gateway.internal", -32603, 500, "The gateway failed.", "Tell the operator the call id."),
    )
}


class RefusedError(MarketplaceError):
    """A stage's no, with everything that its answer and its record need."""

    def __init__(self, code: str, message: str = "", *, decision: Decision | None = None, detail: str = "") -> None:
        self.kind = KINDS[code]
        super().__init__(
            message or self.kind.message, next_step=self.kind.next_step or self.default_next_step, code=code
        )
        self.status = self.kind.status  # type: ignore[misc]
        self.decision = decision
        self.detail = detail  # for the record and the operator, not for the caller
        self.retry_after_s: float = self.kind.retry_after_s
        self.limit: dict[str, Any] | None = None  # which limit, how much is left, when it is whole again
        self.result: dict[str, Any] | None = None  # what a client of the modern revision is told instead of an error
        self.challenge = b""  # the WWW-Authenticate header, where another credential would help

    def later(self, seconds: float) -> RefusedError:
        """The same, with a time to come back at."""
        self.retry_after_s = max(seconds, self.kind.retry_after_s)
        return self

    @classmethod
    def by_policy(cls, decision: Decision) -> RefusedError:
        """The refusal that a negative decision asks for: its own code, message and next step."""
        known = "access.method_unknown" if decision.reason is Reason.METHOD_UNKNOWN else "access.denied"
        refusal = cls(known, decision.message, decision=decision)
        refusal.error_code = f"access.{decision.reason}"
        refusal.next_step = decision.next_step or refusal.next_step
        return refusal

    @property
    def reason(self) -> Reason | None:
        return self.decision.reason if self.decision is not None else self.kind.reason


def rpc_error(refusal: RefusedError, request_id: Any, call_id: str = "") -> bytes:
    """A JSON-RPC error message."""
    decision = refusal.decision
    data: dict[str, Any] = {
        "code": refusal.error_code,
        "reason": str(refusal.reason or ""),
        "message": refusal.message,
        "next_step": refusal.next_step,
        "grant_id": str(decision.grant_id) if decision is not None and decision.grant_id else None,
        "call_id": call_id or None,
        **refusal.data,
    }
    if refusal.limit is not None:
        data["limit"] = refusal.limit
    if refusal.retry_after_s:
        data["retry_after_s"] = round(refusal.retry_after_s, 3)
    error = {"code": refusal.kind.rpc_code, "message": f"{refusal.message} {refusal.next_step}".strip(), "data": data}
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})


def rpc_result(refusal: RefusedError, request_id: Any) -> bytes:
    """What is no error to a client of the modern revision, such as input that is needed first."""
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "result": refusal.result})


def problem(refusal: RefusedError, call_id: str = "", **more: Any) -> bytes:
    """An RFC 9457 problem document."""
    body = refusal.as_problem()
    if refusal.reason:
        body["reason"] = str(refusal.reason)
    if call_id:
        body["call_id"] = call_id
    if refusal.limit is not None:
        body["limit"] = refusal.limit
    if refusal.retry_after_s:
        body["retry_after_s"] = round(refusal.retry_after_s, 3)
    decision = refusal.decision
    if decision is not None and decision.grant_id:
        body["grant_id"] = str(decision.grant_id)
    return orjson.dumps({**body, **more})
