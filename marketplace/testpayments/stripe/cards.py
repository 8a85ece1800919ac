"""Cards of test mode and what each does. Numbers and outcomes are those that Stripe documents for testing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

AUTHENTICATION = "authentication_required"


@dataclass(frozen=True, slots=True)
class Card:
    brand: str = "visa"
    # What a charge answers; empty when it succeeds. (code, decline code)
    charge: tuple[str, str] = ("", "")
    # The same already when the card is saved.
    refused_at_once: bool = False
    # never | setup: only while it is saved | always: at each payment, so that one without the holder there fails
    asks_holder: str = "never"
    disputed: bool = False
    refund_fails: bool = False


def _declines(code: str, decline_code: str = "", *, at_once: bool = True) -> Card:
    return Card(charge=(code, decline_code), refused_at_once=at_once)


CARDS: dict[str, Card] = {
    "4242424242424242": Card(),
    "5555555555554444": Card("mastercard"),
    "378282246310005": Card("amex"),
    "4000000000000002": _declines("card_declined", "generic_decline"),
    "4000000000009995": _declines("card_declined", "insufficient_funds"),
    "4000000000009987": _declines("card_declined", "lost_card"),
    "4000000000000069": _declines("expired_card"),
    "4000000000000127": _declines("incorrect_cvc"),
    "4000000000000119": _declines("processing_error"),
    "4000000000000341": _declines("card_declined", "generic_decline", at_once=False),
    "4000002500003155": Card(asks_holder="setup"),
    "4000002760003184": Card(asks_holder="always"),
    "4000000000000259": Card(disputed=True),
    "4000000000005126": Card(refund_fails=True),
}

MESSAGES = {
    "card_declined": "Your card was declined.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    AUTHENTICATION: "Your card was declined. This transaction requires authentication.",
}


def plain(number: str) -> str:
    return "".join(character for character in number if character.isdigit())


def fingerprint(number: str) -> str:
    """The same card has the same fingerprint, whichever customer saved it."""
    return hashlib.sha256(f"card:{number}".encode()).hexdigest()[:16]


def described(number: str, month: int, year: int) -> dict[str, Any]:
    card = CARDS[number]
    return {
        "brand": card.brand,
        "last4": number[-4:],
        "exp_month": month,
        "exp_year": year,
        "fingerprint": fingerprint(number),
        "country": "US",
        "funding": "credit",
        "three_d_secure_usage": {"supported": True},
    }
