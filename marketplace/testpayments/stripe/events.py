"""Events: listed for those who missed their webhooks, and signed for delivery."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable

from marketplace.testpayments.store import Body, Store
from marketplace.testpayments.stripe.api import Api, listed, route, shown


@route("GET", "/v1/events", "type", pages=True)
def list_events(api: Api, parameters: Body) -> Body:
    wanted = {"type": parameters["type"]} if parameters.get("type") else {}
    return listed(api.every("event", **wanted), parameters, "/v1/events")


@route("GET", "/v1/events/{}")
def retrieve(api: Api, parameters: Body, identifier: str) -> Body:
    return api.find("event", identifier)


def signer(store: Store, secret: str) -> Callable[[str], tuple[bytes, dict[str, str]] | None]:
    """How webhooks are signed: HMAC-SHA-256 over the second, a dot and the body (Stripe-Signature, scheme v1)."""

    def sign(identifier: str) -> tuple[bytes, dict[str, str]] | None:
        event = store.get("event", identifier)
        if event is None:
            return None
        body = json.dumps(shown(event), indent=2).encode()
        return body, {"Stripe-Signature": signature(secret, body, int(time.time()))}

    return sign


def signature(secret: str, body: bytes, moment: int) -> str:
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"
