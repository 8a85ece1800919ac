"""Closed: without a valid key of an active organisation there is no caller, and nothing else is looked at."""

from __future__ import annotations

import hashlib
import logging

from core import clock, keys
from gateway.context import Caller
from gateway.mcp.errors import RefusedError
from gateway.store import EntryStore

log = logging.getLogger(__name__)

CHALLENGE = b'Bearer realm="mcp-marketplace"'
_MAX_VERIFIED = 20_000
_NO_DIGEST = bytes(32)


class Authenticator:
    """Verifies key texts; remembers the verified ones by the hash of the whole text, until their tenant's entry changes."""

    def __init__(self, store: EntryStore, pepper: bytes) -> None:
        self._store, self._pepper = store, pepper
        self._verified: dict[bytes, Caller] = {}

    async def authenticate(self, headers: dict[bytes, bytes]) -> Caller:
        """Raises RefusedError, or PolicyUnavailableError when the key cannot be looked up."""
        token = credential(headers)
        digest = hashlib.sha256(token).digest()
        caller = self._verified.get(digest)
        if caller is None or caller.tenant is not self._store.find_tenant(caller.key.key_id):
            self._verified.pop(digest, None)
            caller = await self._verify(token)
            if len(self._verified) >= _MAX_VERIFIED:
                self._verified.clear()
            self._verified[digest] = caller
        if caller.key.expires_at is not None and caller.key.expires_at <= clock.now():
            raise _refused("This API key has expired.", "expired", caller.key.key_id)
        return caller

    async def _verify(self, token: bytes) -> Caller:
        text = keys.parse(token.decode("latin-1"))
        if text is None:
            raise _refused("The API key is not well formed.", "malformed")
        tenant = self._store.find_tenant(text.key_id) or await self._store.load_tenant(text.key_id)
        key = tenant.keys.get(text.key_id) if tenant is not None else None
        # An unknown key costs the same comparison as a wrong secret.
        matches = keys.matches(text.secret, self._pepper, key.secret_digest if key is not None else _NO_DIGEST)
        if tenant is None or key is None or not matches:
            raise _refused("The API key is not known.", "unknown", text.key_id)
        if tenant.suspended:
            raise _refused("The organisation of this API key is suspended.", "suspended", text.key_id)
        return Caller(tenant, key)


def credential(headers: dict[bytes, bytes]) -> bytes:
    """The key text of a request, from `Authorization: Bearer` or `X-API-Key`. Raises RefusedError."""
    scheme, _, bearer = headers.get(b"authorization", b"").strip().partition(b" ")
    bearer = bearer.strip() if scheme.lower() == b"bearer" else b""
    other = headers.get(b"x-api-key", b"").strip()
    if bearer and other and bearer != other:
        raise _refused("Two different API keys were sent.", "conflicting")
    token = bearer or other
    if not token:
        raise _refused("", "missing")
    return token


def _refused(message: str, why: str, key_id: str = "") -> RefusedError:
    # The lookup part of a key is no secret; the rest of it never reaches a log.
    log.info("credential refused", extra={"why": why, "key_id": key_id})
    return RefusedError("access.unauthenticated", message)
