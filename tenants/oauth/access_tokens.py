"""Writing access tokens (`core.tokens` reads them, here and in the gateway)."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from core import clock, ids, tokens
from core.tokens import AccessToken
from tenants.models import Consent
from tenants.services import signing

LIFE_S = 600


def issue(consent: Consent, scopes: Iterable[str], audience: list[str], address: str = "") -> str:
    """A token that stands for this consent, for ten minutes. `address`: of the person, where we send their requests ourselves."""
    now = int(clock.now().timestamp())
    claims = {
        "iss": settings.PUBLIC_URL,
        "sub": str(consent.user_id) if consent.kind == Consent.Kind.PERSON else consent.client_id,
        "client_id": consent.client_id,
        "tenant": str(consent.tenant_id),
        "key": consent.key_id,
        "aud": audience[0] if len(audience) == 1 else audience,
        "scope": " ".join(scopes),
        "iat": now,
        "exp": now + LIFE_S,
        "jti": str(ids.uuid7()),
        **({"address": address} if address else {}),
    }
    return tokens.sign(claims, signing.active_keys().signer)


def read(text: str) -> AccessToken:
    """Raises TokenRefusedError."""
    return tokens.read(text, signing.public_key, issuer=settings.PUBLIC_URL, now=clock.now())
