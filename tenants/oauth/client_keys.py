"""The public keys of clients that sign in place of keeping a secret: which are taken, and how those at an address are kept.

Whoever registers a client chooses its keys. Only public keys of few kinds are taken, each for its own algorithms, so that
neither a shared secret nor a weak key proves anything. Keys at an address are asked for seldom, whoever brings proofs with
unknown keys, and only for clients that somebody has allowed something.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from allauth.idp.oidc.models import Client
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db.models import Q
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from core import clock, egress
from core.errors import InvalidError, MarketplaceError
from tenants.models import ClientKeys, Consent
from tenants.oauth import documents

log = logging.getLogger(__name__)

METHOD = "private_key_jwt"
MAX_KEYS = 20
KEEP_MOST = timedelta(hours=1)  # so that a key that was taken down is refused within that time
ASK_AGAIN = timedelta(seconds=10)
# While the address does not answer, its last copy is believed for this long.
GRACE = timedelta(minutes=5)
_RSA_BITS = range(2048, 4097)
_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",)}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KINDS = "EC on P-256 or P-384, RSA of 2048 to 4096 bits, Ed25519"
ALGORITHMS = frozenset({"ES256", "ES384", "RS256", "PS256", "EdDSA"})
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


class KeysRefusedError(InvalidError):
    code = "tenants.client_keys_refused"
    default_message = "These keys cannot be used."
    default_next_step = f"Give the public keys ({_KINDS}) as a JWK set, or the https address where the set stands."

    def __init__(self, message: str) -> None:
        super().__init__(message, field="public_keys")


@dataclass(frozen=True, slots=True)
class Key:
    key_id: str  # empty when it has none
    algorithms: frozenset[str]
    public: PublicKey


@dataclass(frozen=True, slots=True)
class Offered:
    """What a client is to be known by: a set, or an address and the copy that was read of it."""

    jwks: dict[str, Any]
    address: str = ""
    fresh_until: datetime | None = None


def of_metadata(metadata: Mapping[str, Any]) -> Offered:
    """The keys of a registration or a description (RFC 7591). Its address is not asked yet. Raises KeysRefusedError."""
    jwks, address = metadata.get("jwks"), metadata.get("jwks_uri")
    if (jwks is None) == (address is None):
        raise KeysRefusedError(f"A client with {METHOD} has either jwks or jwks_uri.")
    if jwks is not None:
        return Offered(checked(jwks))
    return Offered({}, checked_address(address))


def of_text(text: str) -> Offered:
    """What a person typed: a JWK set, one key as JWK or PEM, or an address, which is asked. Raises KeysRefusedError."""
    text = text.strip()
    if text.startswith("-----BEGIN"):
        return Offered(checked(_of_pem(text)))
    if not text.startswith("{"):
        return _asked(checked_address(text))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeysRefusedError("The keys are not well-formed JSON.") from error
    return Offered(checked({"keys": [document]} if "kty" in document else document))


def checked(document: Any) -> dict[str, Any]:
    """A set of the usable keys of this set. Raises KeysRefusedError when there is none, or when one is private."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys) or len(keys) > MAX_KEYS:
        raise KeysRefusedError(f"A JWK set is an object with at most {MAX_KEYS} keys.")
    if any(_PRIVATE & key.keys() for key in keys):
        raise KeysRefusedError(
            "The set holds a private key or a shared secret. Replace that key, and give its public half."
        )
    usable = [key for key in map(_read, keys) if key is not None]
    if not usable:
        raise KeysRefusedError("The set holds no key that can be used to check signatures.")
    return {"keys": [_written(key) for key in usable]}


def checked_address(address: Any) -> str:
    """Raises KeysRefusedError for what may not be asked; an address inside only where the operator opened it."""
    if not isinstance(address, str):
        raise KeysRefusedError("jwks_uri is an address.")
    allow = egress.parse_allow_list(settings.EGRESS_ALLOW)
    try:
        endpoint = egress.parse_url(address, allow)
    except MarketplaceError as error:
        raise KeysRefusedError(error.message) from error
    if endpoint.scheme != "https" and (endpoint.host, endpoint.port) not in allow:
        raise KeysRefusedError("Keys are read over https only.")
    return address


def keep(client: Client, offered: Offered) -> None:
    """The client proves itself with these from here on, and with no secret. The client is stored."""
    known = ClientKeys.objects.filter(client=client).first()
    if known is not None and offered.address and known.address == offered.address and not offered.jwks:
        return
    values = {"jwks": offered.jwks, "address": offered.address, "fresh_until": offered.fresh_until, "asked_at": None}
    ClientKeys.objects.update_or_create(client=client, defaults=values)


def forbid_secret(client: Client) -> None:
    client.type = Client.Type.CONFIDENTIAL
    client.secret = make_password(None)


def forget(client: Client) -> None:
    ClientKeys.objects.filter(client=client).delete()


def has_any(client_id: str) -> bool:
    return ClientKeys.objects.filter(client_id=client_id).exists()


def candidates(client_id: str, key_id: str | None) -> list[Key]:
    """The keys of a client that may have signed what names this key. Its address may be asked, so not inside a transaction."""
    held = ClientKeys.objects.filter(client_id=client_id).first()
    if held is None or not Consent.objects.filter(client_id=client_id, revoked_at=None).exists():
        return []
    found = _named(held, key_id)
    if held.address and not (found and _is_fresh(held)):
        found = _named(held, key_id) if _renew(held) else []
    return found


def shown(address: str) -> str:
    return urlsplit(address).hostname or ""


def _named(held: ClientKeys, key_id: str | None) -> list[Key]:
    keys = (_read(key) for key in held.jwks.get("keys", ()))
    return [key for key in keys if key is not None and (key_id is None or key.key_id in {"", key_id})]


def _is_fresh(held: ClientKeys) -> bool:
    return held.fresh_until is not None and held.fresh_until > clock.now()


def _renew(held: ClientKeys) -> bool:
    """Ask the address, unless that was done a moment ago by any process; whether what is held may be believed then."""
    now = clock.now()
    unasked = Q(asked_at=None) | Q(asked_at__lte=now - ASK_AGAIN)
    if ClientKeys.objects.filter(unasked, pk=held.pk).update(asked_at=now):
        try:
            offered = _asked(held.address)
        except KeysRefusedError as error:
            log.info("client keys not read", extra={"client_id": held.client_id, "why": error.message[:200]})
        else:
            held.jwks, held.fresh_until = offered.jwks, offered.fresh_until
            held.save(update_fields=["jwks", "fresh_until"])
    return held.fresh_until is not None and held.fresh_until + GRACE > now


def _asked(address: str) -> Offered:
    try:
        document, keep_s = documents.fetch_in_time(address)
    except ValidationError as error:
        raise KeysRefusedError(f"{shown(address)}: {error.message}") from error
    except (MarketplaceError, httpx.HTTPError, ValueError) as error:
        raise KeysRefusedError(f"The keys could not be read from {shown(address)}.") from error
    return Offered(checked(document), address, clock.now() + min(timedelta(seconds=keep_s), KEEP_MOST))


def _read(jwk: Mapping[str, Any]) -> Key | None:
    """A key of a set; None for what checks no signatures of ours."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    public = _public(jwk)
    algorithms = _algorithms(public) if public is not None else frozenset()
    if "alg" in jwk:
        algorithms = algorithms & {str(jwk["alg"])}
    key_id = jwk.get("kid", "")
    if public is None or not algorithms or not isinstance(key_id, str) or not key_id.isprintable():
        return None
    return Key(key_id, algorithms, public)


def _public(jwk: Mapping[str, Any]) -> PublicKey | None:
    readers: dict[str, Any] = {"EC": ECAlgorithm, "RSA": RSAAlgorithm, "OKP": OKPAlgorithm}
    reader = readers.get(str(jwk.get("kty")))
    if reader is None:
        return None
    try:
        key = reader.from_jwk(dict(jwk))
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, PublicKey) else None


def _algorithms(key: PublicKey) -> frozenset[str]:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return frozenset(_CURVES.get(key.curve.name, ()))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return frozenset({"EdDSA"})
    # A huge exponent would make each check expensive.
    is_usual = key.key_size in _RSA_BITS and key.public_numbers().e.bit_length() <= 32
    return frozenset({"RS256", "PS256"}) if is_usual else frozenset()


def _written(key: Key) -> dict[str, Any]:
    """A key as it is kept: what was read of it, and nothing else that stood there."""
    alone = {"alg": next(iter(key.algorithms))} if len(key.algorithms) == 1 else {}
    return {**_jwk_of(key.public), **alone, **({"kid": key.key_id} if key.key_id else {})}


def _jwk_of(key: Any) -> dict[str, Any]:
    writers: dict[type, Any] = {
        ec.EllipticCurvePublicKey: ECAlgorithm,
        rsa.RSAPublicKey: RSAAlgorithm,
        ed25519.Ed25519PublicKey: OKPAlgorithm,
    }
    writer = next((writer for kind, writer in writers.items() if isinstance(key, kind)), None)
    if writer is None:
        raise KeysRefusedError(f"Keys of this kind are not taken, only: {_KINDS}.")
    return writer.to_jwk(key, as_dict=True)


def _of_pem(text: str) -> dict[str, Any]:
    if "PRIVATE KEY" in text:
        raise KeysRefusedError(
            "That is a private key, which only the agent may have. Replace it, and give its public half."
        )
    try:
        return {"keys": [_jwk_of(load_pem_public_key(text.encode()))]}
    except (ValueError, UnsupportedAlgorithm, PyJWTError) as error:
        raise KeysRefusedError("The text is no public key in PEM.") from error
