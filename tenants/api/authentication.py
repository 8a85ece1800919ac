"""API keys on the REST API: the same credentials as on the gateway, looked up in Postgres.

Access tokens stand for a key or for a consent, as on the gateway. A token that was issued for one server is none for the API.
"""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from core import addresses, keys, tokens
from core.errors import UnauthenticatedError
from tenants.api.credential import Credential
from tenants.context import connection
from tenants.models import APIKey, Consent, User
from tenants.oauth import access_tokens, grants, resources
from tenants.selectors import consents

# Compared against when the key id is unknown, so that both answers take the same time.
_NOBODY = bytes(32)


class APIKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer` or `X-API-Key`. Sets `request.auth` and opens the organisation's schema."""

    def authenticate(self, request: Request) -> tuple[User | None, Credential] | None:
        text = _credential(request)
        if text is None:
            return None
        found = _from_token(text) if tokens.looks_like_one(text) else _from_key(text)
        if found is None or (found.key is not None and not is_within_ranges(found.key, request)):
            raise UnauthenticatedError(
                "The API key is not valid.", next_step="Create a key on your organisation's Keys page."
            )
        connection.set_tenant(found.tenant)
        connection.set_viewer(str(found.tenant.pk))
        return found.user, found

    def authenticate_header(self, request: Request) -> str:
        metadata = f"{settings.PUBLIC_URL}/.well-known/oauth-protected-resource"
        return f'Bearer realm="mcp-marketplace", resource_metadata="{metadata}"'


def find(text: str) -> APIKey | None:
    """The live key of this text, or None."""
    parts = keys.parse(text)
    if parts is None:
        return None
    key = _of_id(parts.key_id)
    matches = keys.matches(parts.secret, settings.KEY_PEPPER, bytes(key.secret_digest) if key else _NOBODY)
    return key if key is not None and matches and _is_live(key) else None


def is_within_ranges(key: APIKey, request: HttpRequest | Request) -> bool:
    if not key.networks:
        return True
    peer, forwarded = request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    address = addresses.origin(peer, forwarded, settings.TRUSTED_PROXIES)
    return addresses.is_within(address, frozenset(key.networks))


def _from_key(text: str) -> Credential | None:
    key = find(text)
    return None if key is None else Credential(key.tenant, key.created_by, frozenset(key.scopes), key)


def _from_token(text: str) -> Credential | None:
    try:
        token = access_tokens.read(text)
    except tokens.TokenRefusedError:
        return None
    if not resources.covers_everything(token.audiences):
        return None
    if (consent_id := consents.id_of(token.key_id)) is not None:
        return _from_consent(consent_id, token)
    key = _of_id(token.key_id)
    if key is None or not _is_live(key) or token.client_id or str(key.tenant_id) != token.tenant_id:
        return None
    return Credential(key.tenant, key.created_by, frozenset(key.scopes) & token.scopes, key)


def _from_consent(consent_id: UUID, token: tokens.AccessToken) -> Credential | None:
    consent = Consent.objects.select_related("tenant", "user").filter(pk=consent_id).first()
    if consent is None or consent.client_id != token.client_id or not grants.is_live(consent):
        return None
    return Credential(consent.tenant, consent.user, frozenset(consent.scopes) & token.scopes)


def _of_id(key_id: str) -> APIKey | None:
    return APIKey.objects.select_related("tenant", "created_by").filter(key_id=key_id).first()


def _is_live(key: APIKey) -> bool:
    """Neither revoked nor expired, of an active organisation."""
    return key.state == "active" and key.tenant.suspended_at is None


def _credential(request: Request) -> str | None:
    header, own = request.headers.get("Authorization", ""), request.headers.get("X-API-Key", "").strip()
    scheme, _, bearer = header.partition(" ")
    bearer = bearer.strip() if scheme.lower() == "bearer" else ""
    if header and not bearer:
        raise UnauthenticatedError("The Authorization header must be `Bearer <key>`.")
    if bearer and own and bearer != own:
        raise UnauthenticatedError("Authorization and X-API-Key name two different keys.")
    return bearer or own or None
