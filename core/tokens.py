"""Access tokens of the marketplace: how they are written and the one way in which they are read.

A token is a JWT of type `at+jwt` (RFC 9068), signed with the platform's key (`core.signing`). It says for which organisation and
credential it stands (`tenant`, `key`), what it may do (`scope`) and where (`aud`); whether that credential still lives is asked
at every use. Reading is strict: the header holds `alg`, `typ` and `kid` and nothing else, so no key, address of a key or
extension that a stranger names is ever looked at, and there is one algorithm.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey as PublicKey

from core.signing import ALGORITHM, Signer

FindKey = Callable[[str], PublicKey | None]

TYPE = "at+jwt"
MAX_LENGTH = 4096
MAX_LIFE_S = 900
LEEWAY_S = 30  # between the clocks of two machines
_HEADER = frozenset({"alg", "typ", "kid"})
_TEXTS = ("iss", "sub", "jti", "tenant", "key", "scope")


class TokenRefusedError(Exception):
    """The text is no valid token of ours; the message says why, for the log."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    tenant_id: str
    key_id: str  # of an API key, or `oauth_…` of a consent
    subject: str
    client_id: str  # of the OAuth client; empty for the exchange of an API key
    scopes: frozenset[str]
    audiences: tuple[str, ...]
    expires_at: datetime
    token_id: str
    address: str = ""  # where the person is for whom we send the request ourselves; empty: look at the connection


def looks_like_one(text: str) -> bool:
    """Whether a credential is meant as a token: two dots, and the beginning of a JSON object in base64."""
    return text.startswith("eyJ") and text.count(".") == 2


def sign(claims: Mapping[str, Any], signer: Signer) -> str:
    return signer.sign(json.dumps(claims, separators=(",", ":")).encode(), TYPE).decode()


def read(text: str, find_key: FindKey, *, issuer: str, now: datetime) -> AccessToken:
    """Raises TokenRefusedError for anything but an unexpired token that we signed for ourselves."""
    key = find_key(_key_id(text))
    if key is None:
        raise TokenRefusedError("kid")
    try:
        # Times are compared below, with the caller's clock.
        claims = jwt.decode(
            text,
            key,
            algorithms=[ALGORITHM],
            options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except jwt.PyJWTError as exc:
        raise TokenRefusedError(type(exc).__name__) from exc
    if claims.get("iss") != issuer or not all(isinstance(claims.get(name), str) for name in _TEXTS):
        raise TokenRefusedError("claims")
    return AccessToken(
        tenant_id=claims["tenant"],
        key_id=claims["key"],
        subject=claims["sub"],
        client_id=_text(claims.get("client_id", "")),
        scopes=frozenset(claims["scope"].split()),
        audiences=_audiences(claims.get("aud")),
        expires_at=_expiry(claims, now),
        token_id=claims["jti"],
        address=_text(claims.get("address", "")),
    )


def _key_id(text: str) -> str:
    """Which key signed, by a header that holds nothing else of interest."""
    if len(text) > MAX_LENGTH or not text.isascii():
        raise TokenRefusedError("size")
    try:
        head = text.split(".", 1)[0]
        header = json.loads(base64.b64decode(head + "=" * (-len(head) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as exc:
        raise TokenRefusedError("header") from exc
    if not isinstance(header, dict) or set(header) != _HEADER or not all(isinstance(v, str) for v in header.values()):
        raise TokenRefusedError("header")
    if (header["typ"], header["alg"]) != (TYPE, ALGORITHM):
        raise TokenRefusedError("header")
    return header["kid"]


def _expiry(claims: Mapping[str, Any], now: datetime) -> datetime:
    """When the token ends. Raises TokenRefusedError when it has ended, has not begun, or would live too long."""
    issued, ends, begins = claims.get("iat"), claims.get("exp"), claims.get("nbf", 0)
    if type(issued) is not int or type(ends) is not int or type(begins) is not int:
        raise TokenRefusedError("times")
    moment = now.timestamp()
    if ends + LEEWAY_S <= moment or max(issued, begins) > moment + LEEWAY_S or not 0 < ends - issued <= MAX_LIFE_S:
        raise TokenRefusedError("times")
    return datetime.fromtimestamp(ends + LEEWAY_S, UTC)


def _audiences(value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(each, str) and each for each in found):
        raise TokenRefusedError("aud")
    return tuple(found)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TokenRefusedError("claims")
    return value
