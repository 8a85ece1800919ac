"""How a client proves itself with a signature (RFC 7521, RFC 7523, section 3, and its update for authorization servers).

The proof is a JWT that the client signs for this server alone, for minutes, and that is taken once by all processes together. Its
header is believed for nothing but the choice among the keys that the client has registered.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from django.conf import settings
from django.http import QueryDict
from oauthlib.oauth2.rfc6749.errors import InvalidClientError

from core import clock
from tenants.models import UsedAssertion
from tenants.oauth import client_keys

log = logging.getLogger(__name__)

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LIFE_S = 300
LEEWAY_S = 30  # between the clocks of two machines
MAX_LENGTH = 8192
_MAX_ID = 200
_UNCHECKED = {f"verify_{name}": False for name in ("signature", "aud", "exp", "nbf", "iat", "iss", "sub", "jti")}


@dataclass(frozen=True, slots=True)
class Proof:
    """A client that has proven itself, by an assertion that must not have been used before."""

    client_id: str
    digest: str
    expires_at: datetime


def proof_of(form: QueryDict, authorization: str) -> Proof | None:
    """The proof of a request, None when it brings no assertion. Raises InvalidClientError. Not inside a transaction."""
    texts, kinds = form.getlist("client_assertion"), form.getlist("client_assertion_type")
    if not texts and not kinds:
        return None
    if len(texts) != 1 or kinds != [TYPE]:
        raise _refused(f"Send one client_assertion, with the client_assertion_type {TYPE}.")
    if authorization or "client_secret" in form:
        raise _refused("A client proves itself in one way: send no secret beside client_assertion.")
    proof = read(texts[0])
    if any(client_id != proof.client_id for client_id in form.getlist("client_id")):
        raise _refused("client_id is not the subject of the assertion.")
    return proof


def spend(proof: Proof) -> bool:
    """Use the proof up; false when it was used before, by whatever process. Part of the caller's transaction."""
    _, is_first = UsedAssertion.objects.get_or_create(
        client_id=proof.client_id, digest=proof.digest, defaults={"expires_at": proof.expires_at}
    )
    if not is_first:
        log.warning("assertion used twice", extra={"client_id": proof.client_id})
    return is_first


def read(text: str) -> Proof:
    """Raises InvalidClientError for anything but a fresh assertion of a client for this server."""
    header, claims = _unchecked(text)
    algorithm, client_id = header.get("alg"), claims.get("sub")
    if algorithm not in client_keys.ALGORITHMS or "crit" in header:
        raise _refused(f"The assertion is signed with one of {', '.join(sorted(client_keys.ALGORITHMS))}.")
    if not isinstance(client_id, str) or not client_id.isprintable() or claims.get("iss") != client_id:
        raise _refused("The assertion's iss and sub are both the client's id.")
    for key in client_keys.candidates(client_id, header.get("kid")):
        if algorithm in key.algorithms and _is_signed(text, key.public, algorithm):
            return Proof(client_id, _digest(claims), _expiry(claims))
    raise _refused("No key that is registered for this client signed the assertion.")


def _unchecked(text: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims as somebody wrote them."""
    try:
        if len(text) > MAX_LENGTH or not text.isascii():
            raise ValueError("size")
        return jwt.get_unverified_header(text), jwt.decode(text, options=_UNCHECKED)  # type: ignore[arg-type]
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _refused("client_assertion is no signed JWT.") from error


def _is_signed(text: str, key: Any, algorithm: str) -> bool:
    options = {**_UNCHECKED, "verify_signature": True}
    try:
        jwt.decode(text, key, algorithms=[algorithm], options=options)  # type: ignore[arg-type]
    except jwt.PyJWTError:
        return False
    return True


def _digest(claims: Mapping[str, Any]) -> str:
    """Of the proof's id, once it is known to be meant for this server alone."""
    base, audience, name = settings.PUBLIC_URL, claims.get("aud"), claims.get("jti")
    audiences = [audience] if isinstance(audience, str) else audience
    # One that others may take too could be brought here by them.
    ours = (base, f"{base}/", f"{base}/oauth/token")
    if not isinstance(audiences, list) or not audiences or not all(each in ours for each in audiences):
        raise _refused(f"The assertion's aud is {base} and nothing else.")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_ID:
        raise _refused(f"The assertion has a jti of at most {_MAX_ID} characters, another one each time.")
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _expiry(claims: Mapping[str, Any]) -> datetime:
    """When the proof is over. Raises InvalidClientError when it is, has not begun, or would live too long."""
    now = clock.now().timestamp()
    ends, begins = _seconds(claims.get("exp")), _seconds(claims.get("nbf", 0))
    issued = _seconds(claims.get("iat", now))
    if ends + LEEWAY_S <= now:
        raise _refused("The assertion has expired.")
    if max(issued, begins) > now + LEEWAY_S:
        raise _refused("The assertion is not valid yet. Check the clock of the client.")
    if ends - issued > MAX_LIFE_S or ends > now + MAX_LIFE_S + LEEWAY_S:
        raise _refused(f"The assertion lives for at most {MAX_LIFE_S} seconds.")
    return datetime.fromtimestamp(ends + LEEWAY_S, UTC)


def _seconds(value: Any) -> float:
    if type(value) in (int, float) and math.isfinite(value) and 0 <= value < 2**40:
        return float(value)
    raise _refused("The assertion's exp, iat and nbf are seconds since 1970.")


def _refused(why: str) -> InvalidClientError:
    log.info("client assertion refused", extra={"why": why})
    return InvalidClientError(description=why)
