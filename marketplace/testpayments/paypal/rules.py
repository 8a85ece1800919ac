"""What PayPal asks of each request, as JSON schemas of our own wording, and what becomes of an item.

Names and bounds are those of PayPal's published descriptions of Payouts (version 1.9) and of webhooks (version 1): which requests
there are, their parameters and bodies, at most 15,000 items. What is narrower is what they say in words: amounts are
text with two decimals, and an item says of which type its receiver is unless the batch does. Whatever is not described is
refused, so that a request that is wrong fails here and not at PayPal.

The outcome of an item follows from its receiver's address, so that tests choose it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs

import jsonschema

ITEMS_MAX = 15_000

_RECIPIENT = {"enum": ["EMAIL", "PHONE", "PAYPAL_ID", "USER_HANDLE"]}
_AMOUNT = {
    "type": "object",
    "required": ["value", "currency"],
    "additionalProperties": False,
    "properties": {
        "value": {"type": "string", "pattern": r"^(?=.*[1-9])[0-9]{1,10}(\.[0-9]{2})?$", "maxLength": 32},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
    },
}
_ITEM = {
    "type": "object",
    "required": ["receiver", "amount"],
    "additionalProperties": False,
    "properties": {
        "recipient_type": _RECIPIENT,
        "receiver": {"type": "string", "minLength": 1, "maxLength": 127},
        "amount": _AMOUNT,
        "note": {"type": "string", "maxLength": 4000},
        "sender_item_id": {"type": "string", "minLength": 1, "maxLength": 63},
        "recipient_wallet": {"enum": ["PAYPAL", "VENMO"]},
        "purpose": {
            "enum": [
                "AWARDS",
                "PRIZES",
                "DONATIONS",
                "GOODS",
                "SERVICES",
                "REBATES",
                "CASHBACK",
                "DISCOUNTS",
                "NON_GOODS_OR_SERVICES",
            ]
        },
        "notification_language": {"type": "string", "pattern": "^[a-z]{2}(-[A-Z][a-z]{3})?(-[A-Z]{2})?$"},
    },
}
PAYOUT: dict[str, Any] = {
    "type": "object",
    "required": ["sender_batch_header", "items"],
    "additionalProperties": False,
    "properties": {
        "sender_batch_header": {
            "type": "object",
            "required": ["sender_batch_id"],
            "additionalProperties": False,
            "properties": {
                "sender_batch_id": {"type": "string", "minLength": 1, "maxLength": 256},
                "recipient_type": _RECIPIENT,
                "email_subject": {"type": "string", "maxLength": 255},
                "email_message": {"type": "string", "maxLength": 1000},
                "note": {"type": "string", "maxLength": 1000},
            },
        },
        "items": {"type": "array", "minItems": 1, "maxItems": ITEMS_MAX, "items": _ITEM},
    },
    "anyOf": [
        {"properties": {"sender_batch_header": {"required": ["recipient_type"]}}},
        {"properties": {"items": {"items": {"required": ["recipient_type"]}}}},
    ],
}
VERIFICATION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "auth_algo",
        "cert_url",
        "transmission_id",
        "transmission_sig",
        "transmission_time",
        "webhook_id",
        "webhook_event",
    ],
    "properties": {
        "auth_algo": {"type": "string", "minLength": 1, "maxLength": 100},
        "cert_url": {"type": "string", "maxLength": 500},
        "transmission_id": {"type": "string", "minLength": 1, "maxLength": 50},
        "transmission_sig": {"type": "string", "minLength": 1, "maxLength": 500},
        "transmission_time": {"type": "string", "maxLength": 500},
        "webhook_id": {"type": "string", "minLength": 1, "maxLength": 50},
        "webhook_event": {"type": "object"},
    },
}

_TOKEN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["grant_type"],
    "properties": {"grant_type": {"const": "client_credentials"}},
}
_NUMBER = {"type": "string", "pattern": "^(1000|[1-9][0-9]{0,2})$"}
_SHOWN = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "fields": {"type": "string", "minLength": 1, "maxLength": 1000},
        "page": _NUMBER,
        "page_size": _NUMBER,
        "total_required": {"enum": ["true", "false"]},
    },
}
_NOTHING: dict[str, Any] = {"type": "object", "maxProperties": 0}
_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Operation:
    """One request that PayPal describes. `body` is a schema of what is sent as `media`; without one nothing is sent."""

    method: str
    path: re.Pattern[str]
    query: dict[str, Any]
    body: dict[str, Any] | None = None
    media: str = _JSON


_ID = "[^/]{1,1000}"
OPERATIONS = (
    Operation("POST", re.compile("/v1/oauth2/token"), _NOTHING, _TOKEN, _FORM),
    Operation("POST", re.compile("/v1/payments/payouts"), _NOTHING, PAYOUT),
    Operation("GET", re.compile(f"/v1/payments/payouts/{_ID}"), _SHOWN),
    Operation("GET", re.compile("/v1/payments/payouts-item/[^/]{1,32}"), _NOTHING),
    Operation("POST", re.compile("/v1/payments/payouts-item/[^/]{1,32}/cancel"), _NOTHING),
    Operation("POST", re.compile("/v1/notifications/verify-webhook-signature"), _NOTHING, VERIFICATION),
)


class Fault(StrEnum):
    """In what way a request is not one of PayPal's: the name of the error that it answers with."""

    UNKNOWN = "RESOURCE_NOT_FOUND"
    MEDIA = "UNSUPPORTED_MEDIA_TYPE"
    UNREADABLE = "MALFORMED_REQUEST_JSON"
    INVALID = "VALIDATION_ERROR"


class NotDescribedError(Exception):
    def __init__(self, fault: Fault, field: str = "", issue: str = "") -> None:
        super().__init__(f"{fault}: {field} {issue}".strip())
        self.fault, self.field, self.issue = fault, field, issue


def check(method: str, path: str, query: str, media: str, body: bytes) -> Operation:
    """The operation that a request is. Raises NotDescribedError for what PayPal's descriptions do not know."""
    operation = next((each for each in OPERATIONS if each.method == method and each.path.fullmatch(path)), None)
    if operation is None:
        raise NotDescribedError(Fault.UNKNOWN)
    _validate(_single(query), operation.query)
    if operation.body is None:
        if body:
            raise NotDescribedError(Fault.INVALID, "$", "nothing is sent with this request")
        return operation
    if media.partition(";")[0].strip().lower() != operation.media:
        raise NotDescribedError(Fault.MEDIA)
    try:
        asked = _single(body.decode()) if operation.media == _FORM else json.loads(body)
    except ValueError:
        raise NotDescribedError(Fault.UNREADABLE) from None
    _validate(asked, operation.body)
    return operation


def _single(text: str) -> dict[str, Any]:
    """Parameters by name; one that is given twice is a list, which no schema allows."""
    found = parse_qs(text, keep_blank_values=True)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _validate(asked: Any, schema: dict[str, Any]) -> None:
    try:
        jsonschema.validate(asked, schema)
    except jsonschema.ValidationError as error:
        raise NotDescribedError(Fault.INVALID, error.json_path, error.message[:300]) from error


# Seconds after which a batch is under way, its items are decided, and an unclaimed item goes back.
STARTS_S, DECIDED_S, RETURNS_S = 1, 2, 30 * 86_400
# In all countries alike: two percent, at most a dollar within the United States. The fake knows only those.
_FEE_BPS, _FEE_MOST = 200, Decimal("1.00")


@dataclass(frozen=True, slots=True)
class Outcome:
    status: str
    error: str = ""


_OUTCOMES = {
    "fail": Outcome("FAILED", "RECEIVER_UNREGISTERED"),
    "unclaimed": Outcome("UNCLAIMED", "RECEIVER_UNREGISTERED"),
    "onhold": Outcome("ONHOLD"),
    "blocked": Outcome("BLOCKED", "RECEIVER_BLOCKED"),
    "refunded": Outcome("REFUNDED"),
    "reversed": Outcome("REVERSED"),
}


def outcome(receiver: str, age_s: int, *, cancelled: bool) -> Outcome:
    """What an item is after so many seconds; `fail@…`, `unclaimed+7@…` and so on choose another end than success."""
    if cancelled:
        return Outcome("RETURNED")
    if age_s < DECIDED_S:
        return Outcome("PENDING")
    chosen = _OUTCOMES.get(receiver.partition("@")[0].partition("+")[0].lower(), Outcome("SUCCESS"))
    if chosen.status == "UNCLAIMED" and age_s >= RETURNS_S:
        return Outcome("RETURNED")
    return chosen


def fee(value: str) -> str:
    amount = min((Decimal(value) * _FEE_BPS / 10_000).quantize(Decimal("0.01")), _FEE_MOST)
    return str(amount)
