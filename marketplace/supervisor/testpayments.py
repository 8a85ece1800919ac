"""Which payment providers stand in for real ones at this start, and what the product and they are told about each other."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

# The variable without which a provider cannot be asked.
_NEEDED = {"stripe": "MARKETPLACE_STRIPE_KEY", "paypal": "MARKETPLACE_PAYPAL_CLIENT_ID"}
_WANTED = "MARKETPLACE_TEST_PAYMENTS"
_NO = frozenset({"false", "0", "no"})


def stand_ins(given: Mapping[str, str]) -> tuple[str, ...]:
    """The providers without keys. In production they are had only where they are asked for."""
    wanted = given.get(_WANTED, "").lower()
    if wanted in _NO or (given.get("MARKETPLACE_ENV") == "production" and not wanted):
        return ()
    return tuple(kind for kind, name in _NEEDED.items() if not given.get(name) and not given.get(f"{name}_FILE"))


def environment(ports: Mapping[str, int], secret: str) -> dict[str, str]:
    """What every process of the product sees of the stand-ins; their keys follow from the installation's secret."""
    found: dict[str, str] = {_WANTED: "true"} if ports else {}
    if "stripe" in ports:
        found |= {
            "MARKETPLACE_STRIPE_URL": f"http://127.0.0.1:{ports['stripe']}",
            "MARKETPLACE_STRIPE_KEY": "sk_test_" + _derived(secret, "stripe key"),
            "MARKETPLACE_STRIPE_WEBHOOK_SECRETS": "whsec_" + _derived(secret, "stripe webhooks"),
        }
    if "paypal" in ports:
        found |= {
            "MARKETPLACE_PAYPAL_URL": f"http://127.0.0.1:{ports['paypal']}",
            "MARKETPLACE_PAYPAL_CLIENT_ID": "test-client",
            "MARKETPLACE_PAYPAL_SECRET": _derived(secret, "paypal secret"),
            "MARKETPLACE_PAYPAL_WEBHOOK_ID": "TESTWEBHOOK",
        }
    return found


def arguments(kind: str, *, descriptor: int, port: int, data: Path, product: str) -> tuple[str, ...]:
    """How a stand-in is started: what it knows is kept below `data`, its webhooks go to the product."""
    where = ("--fd", str(descriptor), "--url", f"http://127.0.0.1:{port}")
    kept = ("--data", str(data / "test-payments" / f"{kind}.sqlite3"))
    return ("-m", f"marketplace.testpayments.{kind}", *where, *kept, "--webhook", f"{product}/webhooks/{kind}/")


def _derived(secret: str, purpose: str) -> str:
    return hmac.new(secret.encode(), f"test payments: {purpose}".encode(), hashlib.sha256).hexdigest()[:40]
