"""API keys on the REST API: the same credential as on the gateway, looked up in Postgres."""

from __future__ import annotations

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from core import clock, keys
from core.errors import UnauthenticatedError
from tenants.context import connection
from tenants.models import APIKey, User

# Compared against when the key id is unknown, so that both answers take the same time.
_NOBODY = bytes(32)


class APIKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer mk_…` or `X-API-Key`. Sets `request.auth` to the key and opens its organisation's schema."""

    def authenticate(self, request: Request) -> tuple[User | None, APIKey] | None:
        text = _credential(request)
        if text is None:
            return None
        key = find(text)
        if key is None:
            raise UnauthenticatedError(
                "The API key is not valid.", next_step="Create a key on your organisation's Keys page."
            )
        connection.set_tenant(key.tenant)
        connection.set_viewer(str(key.tenant_id))
        return key.created_by, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="mcp-marketplace"'


def find(text: str) -> APIKey | None:
    """The live key of this text, or None."""
    parts = keys.parse(text)
    if parts is None:
        return None
    key = APIKey.objects.select_related("tenant", "created_by").filter(key_id=parts.key_id).first()
    matches = keys.matches(parts.secret, settings.KEY_PEPPER, bytes(key.secret_digest) if key else _NOBODY)
    if key is None or not matches or key.revoked_at or key.tenant.suspended_at:
        return None
    if key.expires_at and key.expires_at <= clock.now():
        return None
    return key


def _credential(request: Request) -> str | None:
    header, own = request.headers.get("Authorization", ""), request.headers.get("X-API-Key", "").strip()
    scheme, _, bearer = header.partition(" ")
    bearer = bearer.strip() if scheme.lower() == "bearer" else ""
    if header and not bearer:
        raise UnauthenticatedError("The Authorization header must be `Bearer <key>`.")
    if bearer and own and bearer != own:
        raise UnauthenticatedError("Authorization and X-API-Key name two different keys.")
    return bearer or own or None
