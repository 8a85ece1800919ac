"""What webhooks say, how they are signed and how long a failed one waits: pure rules.

Signatures are those of Standard Webhooks 1.0.0 (standardwebhooks.com): the headers `webhook-id`, `webhook-timestamp` and
`webhook-signature`, of which the last is `v1,` and the base64 of HMAC-SHA-256 over `<id>.<timestamp>.<body>`, once for each
secret that is in use, divided by spaces. A secret is written `whsec_` and the base64 of its 32 bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

EVERY_EVENT = "*"
TEST_EVENT = "webhook.test"
# Each with the words of a person who reads it in a channel.
EVENTS: dict[str, str] = {
    "access.request.opened": "Access was requested",
    "access.request.approved": "A request for access was approved",
    "access.request.rejected": "A request for access was rejected",
    "access.request.asked": "A question was asked about a request for access",
    "access.request.withdrawn": "A request for access was withdrawn",
    "access.request.expired": "A request for access expired unanswered",
    "access.call.approval_requested": "A call waits for a person's approval",
    "access.call.approved": "A waiting call was approved",
    "access.call.rejected": "A waiting call was rejected",
    "access.grant.given": "A grant was given",
    "access.grant.revoked": "A grant was revoked",
    "access.grant.expiring": "A grant expires soon",
    "access.grant.expired": "A grant expired",
    "access.session.issued": "An agent session was issued",
    "access.session.revoked": "An agent session was revoked",
    "access.limit.reached": "A limit or budget reached a share of itself",
    "audit.checkpoint.made": "A signed checkpoint of the audit log was made",
    "operations.elevation.started": "An operator opened this organisation",
    "operations.elevation.ended": "An operator's view of this organisation ended",
}
# Too many for whoever wants to hear of everything: heard only when they are chosen by name.
QUIET_EVENTS = frozenset({"audit.checkpoint.made"})
_SECRET_PREFIX, _SECRET_BYTES = "whsec_", 32

# Seconds before the second and each further attempt: nine in all, the last within 24 hours of the first.
PAUSES_S = (10, 60, 300, 1800, 2 * 3600, 5 * 3600, 8 * 3600, 8 * 3600)
_JITTER = 0.1
_FACTS_MAX, _FACT_MAX = 10, 300
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "*": "", "`": "'"})


def mint_secret() -> str:
    return _SECRET_PREFIX + b64encode(os.urandom(_SECRET_BYTES)).decode()


def message_id(event_id: Any) -> str:
    return f"msg_{event_id.hex}"


def signature_headers(message: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of a message, signed with each secret that is in use."""
    moment = int(at.timestamp())
    signed = f"{message}.{moment}.".encode() + body
    signatures = [b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode() for secret in secrets]
    return {
        "webhook-id": message,
        "webhook-timestamp": str(moment),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def pause_after(tries: int, random: Random) -> timedelta | None:
    """How long to wait after so many tries; None when it was the last. Shorter by chance, so that failures do not march."""
    if tries > len(PAUSES_S):
        return None
    return timedelta(seconds=PAUSES_S[tries - 1] * (1 - _JITTER * random.random()))


def standard_body(
    event: str, occurred_at: datetime, message: str, organisation: Mapping[str, str], data: Mapping[str, Any]
) -> bytes:
    content = {
        "id": message,
        "type": event,
        "timestamp": occurred_at.isoformat(),
        "organisation": organisation,
        "data": data,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def slack_body(event: str, organisation: Mapping[str, str], data: Mapping[str, Any], public_url: str) -> bytes:
    """What Slack, and whatever takes its incoming webhooks, shows as a message. Nothing in it is taken for markup."""
    title = EVENTS.get(event, "This is a test of a webhook")
    lines = [f"*{_plain(organisation['name'])}*: {title}"]
    facts = [(name, value) for name, value in data.items() if name != "url" and _is_fact(value)][:_FACTS_MAX]
    lines += [f"• {_plain(name.replace('_', ' '))}: {_plain(value)}" for name, value in facts]
    path = data.get("url")
    if isinstance(path, str) and path.startswith("/") and path[1:2] not in {"/", "\\"} and not set(path) & set("<>|"):
        lines.append(f"<{public_url}{path}|Open>")
    return json.dumps({"text": "\n".join(lines)}, ensure_ascii=False).encode()


def _is_fact(value: object) -> bool:
    return isinstance(value, str | int | float) and value != ""


def _plain(value: object) -> str:
    """Slack's own escapes, and nothing that it would take for bold or code."""
    return " ".join(str(value).split())[:_FACT_MAX].translate(_ESCAPES)


def _key(secret: str) -> bytes:
    return b64decode(secret.removeprefix(_SECRET_PREFIX))
