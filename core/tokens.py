"""Access tokens of the marketplace: how they are written and the one way in which they are read.

A token is a JWT of type `at+jwt` (RFC 9068), signed with ES256 or EdDSA. It says for which organisation and credential it
stands (`tenant`, `key`), what it may do (`scope`) and where (`aud`); whether that credential still lives is asked at every
use. Reading is strict: the header holds `alg`, `typ` and `kid` and nothing else, so no key, address of a key or extension that
a stranger names is ever looked at, and the algorithm follows from our key, never from the token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
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


@dataclass(frozen=True, slots=True)
class SigningKey:
    key_id: str
    private: PrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r}, <secret>)"

    @property
    def public(self) -> PublicKey:
        return self.private.public_key()


def looks_like_one(text: str) -> bool:
    """Whether a credential is meant as a token: two dots, and the beginning of a JSON object in base64."""
    return text.startswith("eyJ") and text.count(".") == 2


def sign(claims: Mapping[str, Any], key: SigningKey, *, kind: str = TYPE) -> str:
    return jwt.encode(
        dict(claims), key.private, algorithm=_algorithm(key.public), headers={"kid": key.key_id, "typ": kind}
    )


def read(text: str, find_key: FindKey, *, issuer: str, now: datetime) -> AccessToken:
    """Raises TokenRefusedError for anything but an unexpired token that we signed for ourselves."""
    key = find_key(_header(text)["kid"])
    if key is None:
        raise TokenRefusedError("kid")
    algorithm = _algorithm(key)
    if _header(text)["alg"] != algorithm:
        raise TokenRefusedError("alg")
    try:
        # Times are compared below, with the caller's clock.
        claims = jwt.decode(
            text,
            key,
            algorithms=[algorithm],
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
    )


def thumbprint(key: PublicKey) -> str:
    """The id of a key: its RFC 7638 thumbprint."""
    members = json.dumps(jwk(key), sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(members.encode()).digest())


def jwk(key: PublicKey) -> dict[str, str]:
    """The members of RFC 7517 that say which key it is."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(key.public_bytes_raw())}
    numbers = key.public_numbers()
    x, y = (_base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


@lru_cache(maxsize=16)
def derived_key(seed: bytes) -> SigningKey:
    """A P-256 key that every process of an installation derives alike from 32 secret bytes."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    number = int.from_bytes(hashlib.sha512(seed).digest(), "big") % (order - 1) + 1
    private = ec.derive_private_key(number, ec.SECP256R1())
    return SigningKey(thumbprint(private.public_key()), private)


def from_pem(pem: bytes) -> SigningKey:
    private = load_pem_private_key(pem, password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey)
    return SigningKey(thumbprint(private.public_key()), private)


def _header(text: str) -> dict[str, str]:
    if len(text) > MAX_LENGTH or not text.isascii():
        raise TokenRefusedError("size")
    try:
        head = text.split(".", 1)[0]
        header = json.loads(base64.b64decode(head + "=" * (-len(head) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as exc:
        raise TokenRefusedError("header") from exc
    if not isinstance(header, dict) or set(header) != _HEADER or not all(isinstance(v, str) for v in header.values()):
        raise TokenRefusedError("header")
    if header["typ"] != TYPE:
        raise TokenRefusedError("typ")
    return header


def _algorithm(key: PublicKey) -> str:
    return "EdDSA" if isinstance(key, ed25519.Ed25519PublicKey) else "ES256"


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


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
