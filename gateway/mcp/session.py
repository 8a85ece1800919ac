"""Legacy session ids, bound to who opened them, without a store.

Two kinds. The id that a server mints is sealed before the client sees it: `<id>.<mac>`, both base64url, the MAC over tenant, key
and server. A session of our own, in front of servers that know none, carries what was agreed at its start inside its id,
encrypted: `~<state>.<name>`. Whoever presents either with another key, for another server or altered gets the answer of an
unknown session. Both survive restarts and are good at every gateway process.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_LENGTH = 1024
MAX_OWN_LENGTH = 4096  # common proxies take header lines of up to 8 KiB
# A session of our own is unknown after this; its client opens another.
OWN_AGE_S = 7 * 24 * 3600
_MAX_STATE_BYTES = 64 * 1024
_OWN = b"~"
_MAC_BYTES = 16
_NONCE = 12


@dataclass(frozen=True, slots=True)
class OwnSession:
    """What a client of an initialize-era revision and the gateway agreed on."""

    name: str  # random, tells sessions apart; no secret
    version: str
    capabilities: Mapping[str, Any]  # of the client
    client: Mapping[str, Any]  # what it says of itself
    features: frozenset[str] = field(
        default=frozenset()
    )  # of the server: what may be listened for, see `fronts.legacy`


def is_own(sealed: bytes) -> bool:
    return sealed.startswith(_OWN)


class SessionSeal:
    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(hmac.new(key, b"own-session", hashlib.sha256).digest())
        # The MAC of a busy session is asked for on every request of it.
        self._mac = lru_cache(maxsize=4096)(self._compute)
        self._opened = lru_cache(maxsize=4096)(self._open)

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

    def mint(self, session: OwnSession, owner: str) -> bytes:
        """The id of a session of our own, for its owner. Raises ValueError when the client says too much of itself."""
        state = {
            "v": session.version,
            "c": session.capabilities,
            "i": session.client,
            "f": sorted(session.features),
            "t": int(time.time()),
        }
        name, nonce = session.name.encode(), secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, zlib.compress(orjson.dumps(state)), _bound_to(name, owner))
        text = _OWN + _encode(nonce + sealed) + b"." + name
        if len(text) > MAX_OWN_LENGTH:
            raise ValueError("the session's id would be too long")
        return text

    def open(self, sealed: bytes, owner: str) -> OwnSession | None:
        """The session, or None when this was not minted for this owner or is too old."""
        opened = self._opened(sealed, owner)
        if opened is None or time.time() - opened[1] > OWN_AGE_S:
            return None
        return opened[0]

    def _open(self, sealed: bytes, owner: str) -> tuple[OwnSession, int] | None:
        body, dot, name = sealed.removeprefix(_OWN).partition(b".")
        if not dot or len(sealed) > MAX_OWN_LENGTH:
            return None
        try:
            data = _decode(body)
            packed = self._cipher.decrypt(data[:_NONCE], data[_NONCE:], _bound_to(name, owner))
        except (InvalidTag, binascii.Error, ValueError):
            return None
        # Whatever could be decrypted was packed by a gateway; the bound is against its own mistakes.
        state = orjson.loads(zlib.decompressobj().decompress(packed, _MAX_STATE_BYTES))
        session = OwnSession(name.decode(), state["v"], state["c"], state["i"], frozenset(state["f"]))
        return session, state["t"]

    def _compute(self, upstream_id: bytes, owner: str) -> bytes:
        text = owner.encode() + b"\x00" + upstream_id
        return hmac.new(self._key, text, hashlib.sha256).digest()[:_MAC_BYTES]


def _bound_to(name: bytes, owner: str) -> bytes:
    return owner.encode() + b"\x00" + name


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("not in canonical form")
    return data
