"""What PayPal asks of a payout, as a JSON schema of our own wording, and what becomes of an item.

Bounds are those of the Payouts API, version 1: at most 15,000 items, amounts as text with two decimals, a batch id of at most 256
characters. The outcome of an item follows from its receiver's address, so that tests choose it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

ITEMS_MAX = 15_000

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
        "recipient_type": {"enum": ["EMAIL", "PHONE", "PAYPAL_ID", "USER_HANDLE"]},
        "receiver": {"type": "string", "minLength": 1, "maxLength": 127},
        "amount": _AMOUNT,
        "note": {"type": "string", "maxLength": 4000},
        "sender_item_id": {"type": "string", "minLength": 1, "maxLength": 63},
        "recipient_wallet": {"enum": ["PAYPAL", "VENMO"]},
        "purpose": {"type": "string"},
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
                "recipient_type": {"enum": ["EMAIL", "PHONE", "PAYPAL_ID", "USER_HANDLE"]},
                "email_subject": {"type": "string", "maxLength": 255},
                "email_message": {"type": "string", "maxLength": 1000},
            },
        },
        "items": {"type": "array", "minItems": 1, "maxItems": ITEMS_MAX, "items": _ITEM},
    },
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
