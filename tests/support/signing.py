"""Clients that sign: key pairs of each kind, and the assertions that are made with them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tenants.oauth.assertions import TYPE

_WRITERS = {"RS256": RSAAlgorithm, "PS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


@dataclass(frozen=True)
class KeyPair:
    algorithm: str
    private: Any

    @property
    def private_pem(self) -> str:
        kind, form = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
        return self.private.private_bytes(form, kind, serialization.NoEncryption()).decode()

    @property
    def public_pem(self) -> str:
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, kind).decode()

    def jwk(self, **more: Any) -> dict[str, Any]:
        return {**_WRITERS[self.algorithm].to_jwk(self.private.public_key(), as_dict=True), **more}

    def jwks(self, **more: Any) -> dict[str, Any]:
        return {"keys": [self.jwk(**more)]}

    def jwks_text(self, **more: Any) -> str:
        return json.dumps(self.jwks(**more))


def rsa_pair(bits: int) -> KeyPair:
    return KeyPair("RS256", rsa.generate_private_key(public_exponent=65537, key_size=bits))


def ec_pair() -> KeyPair:
    return KeyPair("ES256", ec.generate_private_key(ec.SECP256R1()))


SIGNERS = {
    "ES256": ec_pair(),
    "RS256": rsa_pair(2048),
    "EdDSA": KeyPair("EdDSA", ed25519.Ed25519PrivateKey.generate()),
}


def claims_for(client_id: str, audience: Any, **changes: Any) -> dict[str, Any]:
    """Of a good assertion, with changes; None leaves a claim out."""
    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": audience, "iat": now, "exp": now + 60, "jti": uuid4().hex}
    return {name: value for name, value in (claims | changes).items() if value is not None}


def assertion(pair: KeyPair, claims: dict[str, Any], **headers: Any) -> str:
    return jwt.encode(claims, pair.private, algorithm=headers.pop("alg", pair.algorithm), headers=headers)


def form_of(text: str, **more: Any) -> dict[str, Any]:
    return {"client_assertion_type": TYPE, "client_assertion": text, **more}
