"""Legacy session ids, bound to who opened them, without a store.

The id that a server mints is sealed before the client sees it: `<id>.<mac>`, both base64url, the MAC over tenant, key and server.
Whoever presents it with another key, for another server or altered gets the answer of an unknown session. Survives restarts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from functools import lru_cache

MAX_LENGTH = 1024
_MAC_BYTES = 16


class SessionSeal:
    def __init__(self, key: bytes) -> None:
        self._key = key
        # The MAC of a busy session is asked for on every request of it.
        self._mac = lru_cache(maxsize=4096)(self._compute)

    def seal(self, upstream_id: bytes, owner: str) -> bytes:
        """`owner` names tenant, key and server."""
        return _encode(upstream_id) + b"." + _encode(self._mac(upstream_id, owner))

    def unseal(self, sealed: bytes, owner: str) -> bytes | None:
        """The server's own id, or None when this was not sealed for this owner."""
        body, dot, mac = sealed.partition(b".")
        if not dot or len(sealed) > MAX_LENGTH:
            return None
        try:
            upstream_id, given = _decode(body), _decode(mac)
        except (binascii.Error, ValueError):
            return None
        return upstream_id if hmac.compare_digest(given, self._mac(upstream_id, owner)) else None

    def _compute(self, upstream_id: bytes, owner: str) -> bytes:
        text = owner.encode() + b"\x00" + upstream_id
        return hmac.new(self._key, text, hashlib.sha256).digest()[:_MAC_BYTES]


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("not in canonical form")
    return data
