"""What programs look up about this installation under `/.well-known/`."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

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
