"""What programs look up about this installation under `/.well-known/`."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from access.services import connections
from tenants.services import signing

# Less than half of `signing.PUBLISHED_FOR`: a next key is in every cache before it signs.
_JWKS_S = 300


@require_safe
def jwks(request: HttpRequest) -> JsonResponse:
    """The public keys that check what we sign (RFC 7517): for servers that are called, and for their libraries' caches."""
    response = JsonResponse(signing.jwks(), content_type="application/jwk-set+json")
    response["Cache-Control"] = f"public, max-age={_JWKS_S}, stale-while-revalidate={_JWKS_S}"
    response["Access-Control-Allow-Origin"] = "*"
    return response


@require_safe
def oauth_client(request: HttpRequest) -> JsonResponse:
    """Who we are to authorization servers that read a client id as an address (client id metadata document)."""
    document = {
        "client_id": connections.document_url(),
        "client_name": "MCP Marketplace",
        "client_uri": settings.PUBLIC_URL,
        "redirect_uris": [connections.redirect_uri()],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
    }
    response = JsonResponse(document)
    response["Cache-Control"] = f"public, max-age={_JWKS_S}"
    return response
