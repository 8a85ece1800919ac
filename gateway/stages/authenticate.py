"""Closed: without a valid credential of an active organisation there is no caller, and nothing else is looked at.

A credential is an API key, or an access token that stands for an API key or for a consent (`core.tokens`). All of them end
in a `KeyEntry` of the organisation's entry, so that a credential that is revoked is gone whatever text names it.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace

from core import addresses, clock, keys, tokens
from core.tokens import AccessToken, FindKey, TokenRefusedError
from gateway.audience import Audiences
from gateway.circumstances import Circumstances, SessionUses, named
from gateway.context import CallContext, Caller
from gateway.entries import KeyEntry, TenantEntry
from gateway.mcp.errors import RefusedError
from gateway.store import EntryStore

log = logging.getLogger(__name__)

_MAX_VERIFIED = 20_000
_NO_DIGEST = bytes(32)


class Authenticator:
    """Verifies credentials; remembers the verified ones by the hash of the whole text, until their tenant's entry changes."""

    def __init__(
        self,
        store: EntryStore,
        pepper: bytes,
        *,
        find_key: FindKey,
        audiences: Audiences,
        issuer: str,
        trusted_proxies: int = 0,
        uses: SessionUses | None = None,
    ) -> None:
        self._store, self._pepper = store, pepper
        self._find_key, self._audiences, self._issuer = find_key, audiences, issuer
        self._trusted_proxies = trusted_proxies
        self._verified: dict[bytes, Caller] = {}
        self._uses = uses if uses is not None else SessionUses()

    async def authenticate(self, call: CallContext) -> Caller:
        """The caller, checked for this call. Raises RefusedError, or PolicyUnavailableError when it cannot be looked up."""
        caller = self.recognise(call)
        if caller is not None:
            return caller
        token = credential(call.headers)
        digest = hashlib.sha256(token).digest()
        self._verified.pop(digest, None)
        caller = await self._verify(token)
        if len(self._verified) >= _MAX_VERIFIED:
            self._verified.clear()
        self._verified[digest] = caller
        return self._admit(call, caller, digest)

    def recognise(self, call: CallContext, digest: bytes = b"") -> Caller | None:
        """The same where the credential was verified before, and None where it was not. Raises RefusedError.

        `digest` is that of the headers, where it is known.
        """
        digest = digest or digest_of(call.headers)
        caller = self._verified.get(digest)
        if caller is None or caller.tenant is not self._store.find_tenant(caller.key.key_id):
            return None
        return self._admit(call, caller, digest)

    def _admit(self, call: CallContext, caller: Caller, digest: bytes) -> Caller:
        """The caller, if the credential may be used at this moment, from here, and for this."""
        key = caller.key
        if key.expires_at is not None and key.expires_at <= clock.now():
            self._verified.pop(digest, None)
            raise _refused("This credential has expired.", "expired", key.key_id)
        if key.networks and not self.is_in_place(call, key):
            raise _refused("This credential may not be used from this address.", "address", key.key_id)
        call.credential, call.client_id = caller.credential, key.client_id
        if caller.servers is not None and call.interface == "mcp":
            check_audience(caller, call.slug)
        if caller.tenant.looks_at_addresses or not self._store.session_headers.isdisjoint(call.headers):
            return self.place(call, caller)
        return caller

    def place(self, call: CallContext, caller: Caller) -> Caller:
        """The caller in the circumstances of this call, as far as a decision may depend on them."""
        base = caller.base or caller
        address: object = None
        if caller.tenant.looks_at_addresses:
            # A run of the playground comes from us; what counts is where its person is.
            address = base.address or self._address(call)
        around = Circumstances(
            named(call.headers, self._store.session_headers), str(address) if address is not None else ""
        )
        placed = base.in_(around, self._uses)
        if placed is base:
            return caller
        return placed.for_(caller.asserted) if caller.asserted is not None else placed

    def is_in_place(self, call: CallContext, key: KeyEntry) -> bool:
        """Whether the key may be used from where the call comes from."""
        return not key.networks or addresses.is_within(self._address(call), key.networks)

    def _address(self, call: CallContext) -> addresses.Address | None:
        peer = call.scope.get("client") or ("", 0)
        forwarded = [value for name, value in call.scope["headers"] if name.lower() == b"x-forwarded-for"]
        return addresses.origin(peer[0], b",".join(forwarded).decode("latin-1"), self._trusted_proxies)

    async def _verify(self, token: bytes) -> Caller:
        text = token.decode("latin-1")
        return await (self._verify_token(text) if tokens.looks_like_one(text) else self._verify_key(text))

    async def _verify_key(self, token: str) -> Caller:
        text = keys.parse(token)
        if text is None:
            raise _refused("The API key is not well formed.", "malformed")
        tenant, key = await self._find(text.key_id)
        # An unknown key costs the same comparison as a wrong secret.
        matches = keys.matches(text.secret, self._pepper, key.secret_digest if key is not None else _NO_DIGEST)
        if tenant is None or key is None or not matches:
            raise _refused("The API key is not known.", "unknown", text.key_id)
        if tenant.suspended:
            raise _refused("The organisation of this API key is suspended.", "suspended", text.key_id)
        return Caller(tenant, key)

    async def _verify_token(self, text: str) -> Caller:
        try:
            token = tokens.read(text, self._find_key, issuer=self._issuer, now=clock.now())
        except TokenRefusedError as exc:
            raise _refused("The access token is not valid.", f"token {exc}") from exc
        servers = self._audiences.servers_of(token.audiences)
        if servers is not None and not servers:
            raise _refused("The access token is meant for somebody else.", "audience", token.key_id)
        tenant, key = await self._find(token.key_id)
        if (
            tenant is None
            or key is None
            or str(tenant.tenant_id) != token.tenant_id
            or key.client_id != token.client_id
        ):
            raise _refused("What this access token stands for was revoked.", "revoked", token.key_id)
        if tenant.suspended:
            raise _refused("The organisation of this access token is suspended.", "suspended", token.key_id)
        return Caller(
            tenant,
            _narrowed(key, token),
            credential=key.kind if token.client_id else "token",
            servers=servers,
            address=token.address,
        )

    async def _find(self, key_id: str) -> tuple[TenantEntry | None, KeyEntry | None]:
        tenant = self._store.find_tenant(key_id) or await self._store.load_tenant(key_id)
        return tenant, tenant.keys.get(key_id) if tenant is not None else None


def check_audience(caller: Caller, slug: str) -> None:
    """Raises RefusedError when the caller's token was issued for other servers than this one."""
    if caller.servers is not None and slug not in caller.servers:
        raise _refused("The access token is meant for another server.", "audience", caller.key.key_id)


def digest_of(headers: dict[bytes, bytes]) -> bytes:
    """Under which the credential of a request is remembered. Raises RefusedError."""
    return hashlib.sha256(credential(headers)).digest()


def credential(headers: dict[bytes, bytes]) -> bytes:
    """The credential of a request, from `Authorization: Bearer` or `X-API-Key`. Raises RefusedError."""
    value = headers.get(b"authorization", b"")
    if value[:7] == b"Bearer " and b"x-api-key" not in headers and (token := value[7:].strip()):
        return token
    scheme, _, bearer = value.strip().partition(b" ")
    bearer = bearer.strip() if scheme.lower() == b"bearer" else b""
    other = headers.get(b"x-api-key", b"").strip()
    if bearer and other and bearer != other:
        raise _refused("Two different API keys were sent.", "conflicting")
    token = bearer or other
    if not token:
        raise _refused("", "missing")
    return token


def _narrowed(key: KeyEntry, token: AccessToken) -> KeyEntry:
    """The key as far as the token goes: it never gives more than the key has at this moment."""
    ends = token.expires_at if key.expires_at is None else min(key.expires_at, token.expires_at)
    return replace(key, scopes=key.scopes & token.scopes, expires_at=ends)


def _refused(message: str, why: str, key_id: str = "") -> RefusedError:
    # The lookup part of a key is no secret; the rest of it never reaches a log.
    log.info("credential refused", extra={"why": why, "key_id": key_id})
    return RefusedError("access.unauthenticated", message)
