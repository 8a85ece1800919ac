"""Connections to servers: the organisation's credential, and people's own accounts. Runs inside the organisation's schema.

Secrets go in and are never given out again, except sealed to gateways. Whoever changes the address of a server gets none: a
credential is good for the origin for which it was entered.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
from django.conf import settings
from django.db import transaction

from access.models import CredentialKind, CredentialStatus, OAuthClient, UpstreamCredential
from access.oauth import tokens
from access.oauth.discovery import AuthServer, discover
from access.oauth.tokens import Client, Token, TokenError
from access.services import telling
from audit import services as audit
from catalog.models import Server
from core import clock, egress, http
from core.errors import ConflictError, InvalidError, MarketplaceError, NotFoundError
from tenants.models import Tenant, User
from tenants.services import revisions, vault

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,8190}[\x21-\x7e])?\Z")
# What the protocol, the connection and we ourselves say in headers.
_TAKEN = frozenset(
    {
        "host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding", "te", "upgrade",
        "trailer", "accept", "accept-encoding", "expect", "cookie", "user-agent", "traceparent", "tracestate", "baggage",
        "last-event-id", "keep-alive", "proxy-authorization", "proxy-connection",
    }
)  # fmt: skip
_TAKEN_BEGINNINGS = ("mcp-", "x-marketplace-", "x-forwarded-")
_AGAIN_FIRST, _AGAIN_LAST = timedelta(minutes=1), timedelta(hours=1)
_SINCE_RENEWAL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Secret:
    """A header as the server expects it."""

    kind: str
    name: str
    value: str

    def __repr__(self) -> str:
        return f"Secret({self.kind!r}, {self.name!r}, <secret>)"


def header(name: str, value: str) -> Secret:
    """Raises InvalidError for a name or value that is not the organisation's to set."""
    low = name.strip().lower()
    if not _HEADER_NAME.match(low) or low in _TAKEN or low.startswith(_TAKEN_BEGINNINGS):
        raise InvalidError("This header cannot be set.", code="access.header_refused", field="header")
    return Secret(CredentialKind.HEADER, low, _checked(value, "secret"))


def bearer(token: str) -> Secret:
    return Secret(CredentialKind.BEARER, "authorization", f"Bearer {_checked(token, 'secret')}")


def basic(user: str, password: str) -> Secret:
    if ":" in user:
        raise InvalidError("A user name holds no colon.", code="access.user_name_refused", field="user")
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return Secret(CredentialKind.BASIC, "authorization", f"Basic {pair}")


def egress_allow() -> egress.AllowList:
    return egress.parse_allow_list(settings.EGRESS_ALLOW)


def store(*, tenant: Tenant, server: Server, secret: Secret, actor: User) -> UpstreamCredential:
    """Keep the organisation's credential for a server, in place of the one before."""
    with transaction.atomic():
        row = _row_for(server, None)
        row.kind, row.expires_at, row.renew_at = secret.kind, None, None
        row.renewal, row.issuer, row.scope = b"", "", ""
        _keep(tenant, row, secret.name, secret.value, actor)
        _audit("access:connection:stored", actor, row, {"server": server.slug, "kind": secret.kind})
    return row


def store_client(
    *, tenant: Tenant, server: Server, client_id: str, client_secret: str, scope: str, actor: User
) -> UpstreamCredential:
    """Log the organisation in as an OAuth client. Raises DiscoveryError, TokenError."""
    found = discover(server.url, egress_allow())
    as_client = Client(client_id, client_secret, tokens.method_for(found.auth_methods))
    scope = scope or found.scope
    token = tokens.for_client(found.token_endpoint, as_client, egress_allow(), resource=found.resource, scope=scope)
    with transaction.atomic():
        row = _row_for(server, None)
        row.kind, row.issuer, row.scope = CredentialKind.OAUTH_CLIENT, found.issuer, scope
        _keep_token(tenant, row, found, as_client, token, actor)
        _audit(
            "access:connection:stored", actor, row, {"server": server.slug, "kind": row.kind, "issuer": found.issuer}
        )
    return row


def keep_account(
    *, tenant: Tenant, server: Server, user: User, found: AuthServer, as_client: Client, token: Token
) -> UpstreamCredential:
    """Keep the account that a person connected."""
    with transaction.atomic():
        row = _row_for(server, user)
        row.kind, row.issuer, row.scope = CredentialKind.OAUTH_USER, found.issuer, token.scope or found.scope
        _keep_token(tenant, row, found, as_client, token, user)
        _audit("access:account:connected", user, row, {"server": server.slug, "issuer": found.issuer})
    return row


def remove(*, tenant: Tenant, credential_id: UUID, actor: User) -> None:
    """Forget a credential. Raises NotFoundError."""
    with transaction.atomic():
        row = UpstreamCredential.objects.select_for_update().filter(pk=credential_id).first()
        if row is None:
            raise NotFoundError("There is no such connection in this organisation.")
        _audit("access:connection:removed", actor, row, {"server": str(row.server_id), "kind": row.kind})
        row.delete()
        revisions.touch(tenant.pk)


def renew(tenant: Tenant, credential_id: UUID) -> bool:
    """Get a fresh token where one is due. Whoever comes while another asks waits for that answer and asks for none.

    A refusal is kept with the credential; it is tried again later and later, or never when the server said that it is final.
    """
    with transaction.atomic():
        row = UpstreamCredential.objects.select_for_update().filter(pk=credential_id).first()
        if row is None or not _is_due(row):
            return False
        try:
            _renew(tenant, row)
        except MarketplaceError as error:
            _note_failure(row, error.message, is_final=isinstance(error, TokenError) and error.is_final)
            if row.status == CredentialStatus.ENDED:
                # An ended credential is never due again, so this is said once.
                telling.tell_ended(tenant, row)
        revisions.touch(tenant.pk)
        return row.status == CredentialStatus.ACTIVE


def due() -> list[UUID]:
    """What the periodic job renews."""
    rows = UpstreamCredential.objects.filter(renew_at__lte=clock.now()).exclude(status=CredentialStatus.ENDED)
    return list(rows.values_list("pk", flat=True))


def note_rejected(tenant: Tenant, credential_id: UUID) -> None:
    """The server answered 401. A token is renewed, unless that was only just done; a secret is marked as failing."""
    with transaction.atomic():
        row = UpstreamCredential.objects.select_for_update().filter(pk=credential_id).first()
        if row is None or row.status == CredentialStatus.ENDED:
            return
        now = clock.now()
        if row.renews and (row.checked_at is None or now - row.checked_at > _SINCE_RENEWAL):
            row.expires_at = row.renew_at = now
        row.status, row.status_detail = CredentialStatus.FAILING, "The server answered 401 to a call."
        row.save(update_fields=["expires_at", "renew_at", "status", "status_detail", "updated_at"])
        revisions.touch(tenant.pk)


def test(tenant: Tenant, credential_id: UUID, server: Server) -> UpstreamCredential:
    """Ask the server, and keep what it said. Raises NotFoundError."""
    row = UpstreamCredential.objects.filter(pk=credential_id, server_id=server.pk).first()
    if row is None:
        raise NotFoundError("There is no such connection in this organisation.")
    if row.origin != origin_of(server):
        is_good, detail = False, "The server has moved: enter the credential for its present address."
    else:
        secret = vault.unseal(vault.place_of(row, "secret", tenant), bytes(row.secret))
        is_good, detail = _ask(server, json.loads(secret))
    status = CredentialStatus.ACTIVE if is_good else CredentialStatus.FAILING
    with transaction.atomic():
        # Only what is still the same credential: somebody may have replaced it meanwhile.
        kept = UpstreamCredential.objects.select_for_update().filter(pk=row.pk, updated_at=row.updated_at).first()
        if kept is None:
            raise ConflictError("The connection was changed while it was tested.")
        kept.status, kept.status_detail, kept.checked_at = status, detail, clock.now()
        kept.save(update_fields=["status", "status_detail", "checked_at", "updated_at"])
        revisions.touch(tenant.pk)
    return kept


def client_for(tenant: Tenant, found: AuthServer, *, redirect_uri: str) -> Client:
    """As whom we are known to an authorization server: entered by the organisation, by our document, or registered now."""
    row = OAuthClient.objects.filter(issuer=found.issuer).first()
    if row is not None:
        secret = vault.unseal(vault.place_of(row, "secret", tenant), bytes(row.secret)).decode() if row.secret else ""
        return Client(row.client_id, secret, row.auth_method)
    if found.takes_document and settings.PUBLIC_URL.startswith("https://"):
        return Client(document_url())
    made = tokens.register(found, egress_allow(), name="MCP Marketplace", redirect_uri=redirect_uri)
    keep_client(tenant, issuer=found.issuer, as_client=made, source="dcr")
    return made


def keep_client(tenant: Tenant, *, issuer: str, as_client: Client, source: str) -> OAuthClient:
    with transaction.atomic():
        row = OAuthClient.objects.select_for_update().filter(issuer=issuer).first() or OAuthClient(issuer=issuer)
        row.client_id, row.auth_method, row.source = as_client.client_id, as_client.method, source
        row.secret = vault.seal(vault.place_of(row, "secret", tenant), as_client.secret) if as_client.secret else b""
        row.save()
    return row


def document_url() -> str:
    """Our client id where the authorization server reads it as an address (client id metadata document)."""
    return f"{settings.PUBLIC_URL}/.well-known/oauth-client.json"


def redirect_uri() -> str:
    return f"{settings.PUBLIC_URL}/connections/callback/"


def origin_of(server: Server) -> str:
    return egress.parse_url(server.url, egress_allow()).origin


def _row_for(server: Server, user: User | None) -> UpstreamCredential:
    owner = user.pk if user else None
    rows = UpstreamCredential.objects.select_for_update().filter(server_id=server.pk)
    row = rows.filter(user_id=owner).first() if owner else rows.filter(user_id=None).first()
    return row or UpstreamCredential(server=server, user_id=owner, user_label=user.email if user else "")


def _keep(tenant: Tenant, row: UpstreamCredential, name: str, value: str, actor: User) -> None:
    row.origin, row.header, row.created_by_label = origin_of(row.server), name, actor.email
    row.status, row.status_detail, row.failures, row.checked_at = CredentialStatus.ACTIVE, "", 0, None
    row.secret = vault.seal(vault.place_of(row, "secret", tenant), json.dumps({"name": name, "value": value}))
    row.save()
    revisions.touch(tenant.pk)


def _keep_token(
    tenant: Tenant, row: UpstreamCredential, found: AuthServer, as_client: Client, token: Token, actor: User
) -> None:
    renewal = {
        "endpoint": found.token_endpoint,
        "resource": found.resource,
        "client_id": as_client.client_id,
        "client_secret": as_client.secret,
        "method": as_client.method,
    }
    _time(row, token)
    row.renewal = _sealed_renewal(tenant, row, renewal, token)
    _keep(tenant, row, "authorization", f"Bearer {token.access}", actor)


def _sealed_renewal(tenant: Tenant, row: UpstreamCredential, renewal: dict[str, Any], token: Token) -> bytes:
    # A server that gives no other refresh token means that the one before stays good (RFC 6749 section 6).
    kept = {**renewal, "refresh_token": token.refresh or renewal.get("refresh_token", "")}
    return vault.seal(vault.place_of(row, "renewal", tenant), json.dumps(kept))


def _time(row: UpstreamCredential, token: Token) -> None:
    """A token is renewed five minutes before its end, or after four fifths of a short life."""
    now, life = clock.now(), timedelta(seconds=token.life_s)
    row.expires_at = now + life
    row.renew_at = now + life - min(timedelta(minutes=5), life / 5)


def _is_due(row: UpstreamCredential) -> bool:
    if not row.renews or row.status == CredentialStatus.ENDED or row.expires_at is None or row.renew_at is None:
        return False
    now = clock.now()
    return row.renew_at <= now or (row.expires_at <= now and not row.failures)


def _renew(tenant: Tenant, row: UpstreamCredential) -> None:
    renewal = json.loads(vault.unseal(vault.place_of(row, "renewal", tenant), bytes(row.renewal)))
    as_client = Client(renewal["client_id"], renewal["client_secret"], renewal["method"])
    endpoint, resource = renewal["endpoint"], renewal["resource"]
    if row.kind == CredentialKind.OAUTH_CLIENT:
        token = tokens.for_client(endpoint, as_client, egress_allow(), resource=resource, scope=row.scope)
    elif renewal["refresh_token"]:
        token = tokens.refresh(endpoint, as_client, egress_allow(), token=renewal["refresh_token"], resource=resource)
    else:
        raise TokenError("The account has to be connected again: it came without a refresh token.", is_final=True)
    row.renewal = _sealed_renewal(tenant, row, renewal, token)
    value = json.dumps({"name": row.header, "value": f"Bearer {token.access}"})
    row.secret = vault.seal(vault.place_of(row, "secret", tenant), value)
    _time(row, token)
    row.status, row.status_detail, row.failures, row.checked_at = CredentialStatus.ACTIVE, "", 0, clock.now()
    row.save()


def _note_failure(row: UpstreamCredential, message: str, *, is_final: bool) -> None:
    row.failures += 1
    row.status = CredentialStatus.ENDED if is_final else CredentialStatus.FAILING
    row.status_detail, row.checked_at = message[:300], clock.now()
    row.renew_at = None if is_final else clock.now() + min(_AGAIN_FIRST * 2 ** min(row.failures - 1, 10), _AGAIN_LAST)
    row.save(update_fields=["failures", "status", "status_detail", "checked_at", "renew_at", "updated_at"])


def _ask(server: Server, secret: dict[str, str]) -> tuple[bool, str]:
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "mcp-marketplace", "version": "0.1.0"},
    }
    headers = {"accept": "application/json, text/event-stream", secret["name"]: secret["value"]}
    try:
        with (
            http.client(egress_allow(), timeout=5.0, max_reply_bytes=64 * 1024) as browser,
            browser.stream(
                "POST",
                server.url,
                json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
                headers=headers,
            ) as reply,
        ):
            status = reply.status_code
    except (httpx.HTTPError, MarketplaceError):
        return False, "The server could not be reached."
    if status in {401, 403}:
        return False, f"The server refused it with HTTP {status}."
    return True, f"The server let it through with HTTP {status}."


def _checked(value: str, field: str) -> str:
    if not _HEADER_VALUE.match(value):
        raise InvalidError(
            "Use printable ASCII characters, without a line break.", code="access.secret_refused", field=field
        )
    return value


def _audit(action: str, actor: User, row: UpstreamCredential, data: dict[str, object]) -> None:
    audit.record(
        action,
        actor=audit.Party("user", str(actor.pk), actor.email),
        target=audit.Party("connection", str(row.pk), row.user_label or "organisation"),
        data=data,
    )
