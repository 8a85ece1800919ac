"""Closed: an entry that was not written by the control plane is not taken, whoever else may write to Valkey.

Entries decide who may call what, and Valkey also carries queues and counters. So each push bears a mark that only holders of the
master secret can make. An older push that is sent again brings nothing newer than what is held, and the poll finds out.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import orjson

CHANNEL = "gateway:v1:entries"


def mark(key: bytes, message: dict[str, Any]) -> bytes:
    """The message as it is pushed."""
    text = orjson.dumps(message)
    return _digest(key, text) + text


def read(key: bytes, data: bytes) -> dict[str, Any]:
    """The message of a push. Raises ValueError for one that bears another mark or none."""
    size = hashlib.sha256().digest_size
    if not hmac.compare_digest(data[:size], _digest(key, data[size:])):
        raise ValueError("not from the control plane")
    message: dict[str, Any] = orjson.loads(data[size:])
    return message


def _digest(key: bytes, text: bytes) -> bytes:
    own = hmac.new(key, b"gateway/entries", hashlib.sha256).digest()
    return hmac.new(own, text, hashlib.sha256).digest()
