"""Closed: a request goes to a server only with the credentials that are due there.

Two kinds, which do not exclude each other. The marketplace says who calls, in a token of its own that is good for one server, one
body and one minute (RFC 7519; `X-Marketplace-Token`, or `Authorization: Bearer` where the provider chose so). And the
organisation's own credential for that server, from the vault, is sent as the server expects it. What the caller sent to us is
neither: it never leaves.

Secrets are unsealed here, on first use, and live as long as the entry of their organisation.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from base64 import b64encode
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import orjson

from core import clock, egress
from core.vault import Keychain, MasterKeys, Place, SealBrokenError
from gateway import tracing
from gateway.config import GatewayConfig
from gateway.context import CallContext, Caller
from gateway.entries import CredentialEntry, ServerEntry
from gateway.keyring import Keyring
from gateway.mcp.errors import RefusedError
from gateway.ports import Loader
from gateway.store import EntryStore

log = logging.getLogger(__name__)

TOKEN_S = 60
TOKEN_HEADER = b"x-marketplace-token"
_MODEL, _FIELD = "access.upstreamcredential", "secret"
_REPORTED_MAX = 4096
_KEPT_NAME = 64  # characters of a method; names of tools are bounded before
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom one caller's requests reach one server, computed once per pair of entries."""

    server: ServerEntry
    name: str  # stored with the call
    claims: bytes  # the beginning of the token's claims; empty: no token
    token_header: bytes
    lines: bytes  # header lines of the organisation's own credential
    credential: CredentialEntry | None

    @property
    def ends(self) -> bool:
        """Whether the credential has to be renewed from time to time."""
        return self.credential is not None and self.credential.expires_at is not None

    def __repr__(self) -> str:
        return f"Identity({self.name!r})"


class UpstreamCredentials:
    def __init__(self, config: GatewayConfig, keyring: Keyring, loader: Loader, store: EntryStore) -> None:
        self._config, self._keyring = config, keyring
        self._loader, self._store = loader, store
        self._masters = MasterKeys(config.vault_keys) if config.vault_keys else None
        self._rejected: dict[tuple[UUID, bytes], float] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def ready(self, call: CallContext) -> None:
        """Refuse a call whose credential is missing, and wait for one that is just being renewed. Raises RefusedError."""
        identity = self._identity(call)
        call.upstream_auth = identity.name
        credential = identity.credential
        if credential is None or credential.expires_at is None or credential.expires_at > clock.now():
            return
        assert call.caller is not None
        # Renewal runs ahead of expiry in the background; here it was late, and is asked for once by however many callers.
        tenant_id = call.caller.tenant.tenant_id
        await self._store.renew(tenant_id, credential.credential_id)
        tenant = self._store.find_tenant(call.caller.key.key_id)
        key = tenant.keys.get(call.caller.key.key_id) if tenant is not None else None
        if tenant is not None and key is not None and tenant is not call.caller.tenant:
            call.caller = call.caller.under(tenant, key)
            credential = self._identity(call).credential
        if credential is not None and credential.expires_at is not None and credential.expires_at <= clock.now():
            raise RefusedError("upstream.credential_expired")

    def headers(self, call: CallContext, body: bytes) -> bytes:
        """Header lines, each with its end, of a request with this body. Raises RefusedError."""
        identity = self._identity(call)
        call.upstream_auth = identity.name
        if identity.lines and call.url != identity.server.url:
            self._require_origin(call.url, identity)
        if not identity.claims:
            return tracing.lines(call) + identity.lines
        return b"%b%b%b\r\n%b" % (
            tracing.lines(call),
            identity.token_header,
            self._token(call, identity, body),
            identity.lines,
        )

    def note_failure(self, call: CallContext, refusal: RefusedError) -> None:
        """Where the server answered 401, the organisation's credential for it is marked as failing, once per secret."""
        if refusal.error_code != "upstream.credential_rejected" or call.caller is None or call.server is None:
            return
        identity = call.caller.identities.get(call.server.server_id)
        credential = identity.credential if identity is not None else None
        if credential is None or (credential.credential_id, credential.sealed) in self._rejected:
            return
        if len(self._rejected) >= _REPORTED_MAX:
            self._rejected.clear()
        self._rejected[credential.credential_id, credential.sealed] = time.monotonic()
        task = asyncio.create_task(self._report(call.caller.tenant.tenant_id, credential.credential_id))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _report(self, tenant_id: UUID, credential_id: UUID) -> None:
        try:
            await self._store.call(self._loader.credential_rejected, tenant_id, credential_id)
        except Exception as exc:  # noqa: BLE001 - what a page shows about a credential never ends a call
            log.warning("rejected credential not noted: %s", type(exc).__name__)

    def _token(self, call: CallContext, identity: Identity, body: bytes) -> bytes:
        now = clock.unix_ms() // 1000
        claims = b'%b,"iat":%d,"exp":%d,"jti":"%b",%b,"rqh":"%b"}' % (
            identity.claims,
            now,
            now + TOKEN_S,
            call.call_id_text,
            subject(call.message.method if call.message is not None else "", call.tool),
            b2a_base64(hashlib.sha256(body).digest(), newline=False).translate(_URL_SAFE).rstrip(b"="),
        )
        return self._keyring.signer.sign(claims)

    def _identity(self, call: CallContext) -> Identity:
        if call.route is not None:
            known: Identity = call.route.identity
            return known
        caller, server = call.caller, call.server
        assert caller is not None
        assert server is not None
        identity = caller.identities.get(server.server_id)
        if identity is None or identity.server is not server:
            identity = caller.identities[server.server_id] = self._identify(caller, server)
        return identity

    def _identify(self, caller: Caller, server: ServerEntry) -> Identity:
        credential = self._choose(caller, server)
        lines = b"" if credential is None else self._lines(caller, server, credential)
        names = [credential.kind] if credential is not None else []
        claims = header = b""
        if server.upstream_auth != "none":
            names.insert(0, "jwt")
            claims = orjson.dumps(self._claims(caller, server))[:-1]
            # The organisation's own credential has the first right to the header that servers look at.
            takes_bearer = server.upstream_auth == "marketplace_bearer" and b"authorization:" not in lines
            header = b"authorization: Bearer " if takes_bearer else TOKEN_HEADER + b": "
        return Identity(server, "+".join(names) or "none", claims, header, lines, credential)

    def _choose(self, caller: Caller, server: ServerEntry) -> CredentialEntry | None:
        """The credential for a server, if there is one. Raises RefusedError when one is needed."""
        stored = caller.tenant.credentials.get(server.server_id, ())
        session = caller.session_at(server)
        if session is not None and session.credential_id is not None:
            # What the session was issued with, and nothing in its place when that is gone.
            stored = tuple(each for each in stored if each.credential_id == session.credential_id)
            if not stored:
                raise RefusedError("access.credential_missing", detail="the session's own credential is gone")
        found = choose(stored, caller.key.user_id)
        if found is None and stored:
            raise RefusedError("access.credential_missing", detail="the session's credential is another person's")
        if self._is_unusable(found, server) if found is not None else server.auth_mode in {"oauth", "header"}:
            # Whoever connected an account has to connect it again; of a secret for all an admin takes care.
            is_personal = server.auth_mode == "oauth" if found is None else found.user_id is not None
            refusal = RefusedError("access.account_not_connected" if is_personal else "access.credential_missing")
            page = f"{self._config.public_url}/o/{caller.tenant.slug}/connections/new/?server={server.slug}"
            refusal.next_step = refusal.next_step.replace("<page>", page)
            raise refusal
        return found

    def _is_unusable(self, credential: CredentialEntry, server: ServerEntry) -> bool:
        """Whether it ended, or the server has moved to an origin that it was not entered for."""
        return credential.is_ended or (
            credential.origin != egress.parse_url(server.url, self._config.egress_allow).origin
        )

    def _require_origin(self, url: str, identity: Identity) -> None:
        """A credential goes to the origin that it was entered for, wherever else the server may be."""
        assert identity.credential is not None
        if egress.parse_url(url, self._config.egress_allow).origin != identity.credential.origin:
            raise RefusedError("access.credential_missing", detail="the server has moved to another origin")

    def _claims(self, caller: Caller, server: ServerEntry) -> dict[str, str]:
        user_id = caller.key.user_id
        return {
            "iss": self._config.public_url,
            "aud": audience_of(server.url, self._config.egress_allow),
            "sub": f"user:{user_id}" if user_id else f"key:{caller.key.api_key_id}",
            "tenant": str(caller.tenant.tenant_id),
            "key": str(caller.key.api_key_id),
            "agent": caller.key.agent,
        }

    def _lines(self, caller: Caller, server: ServerEntry, credential: CredentialEntry) -> bytes:
        tenant = caller.tenant
        if self._masters is None:
            raise RefusedError("upstream.credential_unreadable")
        place = Place(str(tenant.tenant_id), _MODEL, _FIELD, str(credential.credential_id))
        try:
            secret = Keychain(self._masters, str(tenant.tenant_id), tenant.data_keys).open(place, credential.sealed)
        except SealBrokenError as exc:
            raise RefusedError("upstream.credential_unreadable") from exc
        return header_lines(json.loads(secret))


def subject(method: str, tool: str) -> bytes:
    """What is called, as members of the claims. Names of usual length are kept; a client may send one of a megabyte."""
    return _kept_subject(method, tool) if len(method) <= _KEPT_NAME else _kept_subject.__wrapped__(method, tool)


@lru_cache(maxsize=4096)
def _kept_subject(method: str, tool: str) -> bytes:
    return b'"method":%b,"tool":%b' % (orjson.dumps(method), orjson.dumps(tool))


def choose(credentials: Iterable[CredentialEntry], user_id: UUID | None) -> CredentialEntry | None:
    """The person's own before the organisation's; nobody gets another person's."""
    found: CredentialEntry | None = None
    for credential in credentials:
        if credential.user_id is None:
            found = found or credential
        elif credential.user_id == user_id:
            return credential
    return found


def account_of(call: CallContext) -> str:
    """Under which stored credential a call reaches its server, and for whom; empty for the key itself without one.

    Neither sessions nor answers are shared across them.
    """
    if call.caller is None or call.server is None:
        return ""
    identity = call.caller.identities.get(call.server.server_id)
    if identity is None or identity.credential is None:
        return call.caller.on_behalf
    return f"{identity.credential.credential_id}{call.caller.on_behalf}"


def audience_of(url: str, allow: egress.AllowList = frozenset()) -> str:
    """What a token is good for: origin and path of the server, as RFC 8707 names a resource."""
    return egress.parse_url(url, allow).url.partition("?")[0]


def header_lines(secret: dict[str, str]) -> bytes:
    """A stored secret as header lines: `{"name", "value"}`. Values were checked when they were stored."""
    return b"%b: %b\r\n" % (secret["name"].lower().encode("ascii"), secret["value"].encode("latin-1"))


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
