"""Signing in at somebody else's OpenID provider (OpenID Connect Core 1.0): the code flow with PKCE, strictly read.

Providers are named by organisations, so every address is asked through the egress guard, what they say is bounded, and the
identity token is believed only when a key of theirs signed it for our client and this attempt. No database here.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
from django.core.cache import cache

from core import egress, http
from core.errors import MarketplaceError, UpstreamError

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
LEEWAY_S = 60
_DOCUMENT_BYTES = 512 * 1024
_KEPT_S = 600
_GROUPS_MAX, _TEXT_MAX = 500, 255


class SignInError(UpstreamError):
    """The provider did not say who it is, or said it so that it cannot be believed."""

    code = "tenants.sso_failed"
    default_message = "The sign-in at your organisation did not work."
    default_next_step = "Try again; if it persists, ask whoever looks after sign-in in your organisation."


@dataclass(frozen=True, slots=True)
class Provider:
    issuer: str
    client_id: str
    secret: str = field(default="", repr=False)
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is kept in the browser's session between leaving and coming back."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def begin(cls) -> Attempt:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Claims:
    """Who signed in, as the provider says. `groups` is None when it says nothing of them."""

    subject: str
    email: str = ""
    email_verified: bool | None = None
    name: str = ""
    given_name: str = ""
    family_name: str = ""
    groups: tuple[str, ...] | None = None


def check_issuer(text: str, allow: egress.AllowList) -> str:
    """An issuer in one spelling. Raises EgressRefusedError for an address that may not be used, InvalidError's kind."""
    issuer = text.strip()
    endpoint = egress.parse_url(issuer, allow)
    if "?" in issuer or "#" in issuer:
        raise egress.EgressRefusedError("An issuer has no query.", next_step="Copy it from your provider's settings.")
    if endpoint.scheme != "https" and (endpoint.host, endpoint.port) not in allow:
        raise egress.EgressRefusedError("An issuer is an https address.", next_step="Use https.")
    return issuer


def authorization_url(
    provider: Provider, attempt: Attempt, redirect_uri: str, allow: egress.AllowList, hint: str
) -> str:
    """Where to send the browser. Raises SignInError."""
    found = _discover(provider, allow)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid email profile",
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **({"login_hint": hint} if hint else {}),
    }
    address = found["authorization_endpoint"]
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def claims_of(provider: Provider, attempt: Attempt, code: str, redirect_uri: str, allow: egress.AllowList) -> Claims:
    """Exchange the code, and read who it is. Raises SignInError, saying what was wrong."""
    found = _discover(provider, allow)
    answer = _exchange(provider, found, attempt, code, redirect_uri, allow)
    said = _verified(provider, found, attempt, str(answer.get("id_token") or ""), allow)
    if ("email" not in said or provider.groups_claim not in said) and found.get("userinfo_endpoint"):
        said = {**_user_info(found, said["sub"], str(answer.get("access_token") or ""), allow), **said}
    return _claims(provider, said)


def _discover(provider: Provider, allow: egress.AllowList) -> dict[str, str]:
    key = "oidc:" + hashlib.sha256(provider.issuer.encode()).hexdigest()
    found = cache.get(key)
    if found is None:
        found = _document(f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration", allow)
        if found.get("issuer") != provider.issuer:
            raise SignInError("The provider's own document names another issuer.")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            _address(found.get(name), provider, allow)
        cache.set(key, found, _KEPT_S)
    return dict(found)


def _address(value: object, provider: Provider, allow: egress.AllowList) -> None:
    try:
        endpoint = egress.parse_url(value if isinstance(value, str) else "", allow)
    except MarketplaceError as error:
        raise SignInError("The provider's document names an address that may not be used.") from error
    if endpoint.scheme != "https" and provider.issuer.startswith("https:"):
        raise SignInError("The provider's document names an address without TLS.")


def _document(url: str, allow: egress.AllowList, headers: dict[str, str] | None = None) -> dict[str, Any]:
    with _asking(), http.client(allow, max_reply_bytes=_DOCUMENT_BYTES) as client:
        answer = client.get(url, headers={"accept": "application/json", **(headers or {})})
    return _object(answer)


def _exchange(
    provider: Provider, found: dict[str, str], attempt: Attempt, code: str, redirect_uri: str, allow: egress.AllowList
) -> dict[str, Any]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": attempt.verifier,
    }
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    by_header = provider.secret and "client_secret_basic" in methods
    if not by_header:
        form |= {"client_id": provider.client_id, **({"client_secret": provider.secret} if provider.secret else {})}
    login = (_form(provider.client_id), _form(provider.secret)) if by_header else None
    with _asking(), http.client(allow, max_reply_bytes=_DOCUMENT_BYTES) as client:
        answer = client.post(
            found["token_endpoint"],
            data=form,
            auth=login or httpx.USE_CLIENT_DEFAULT,
            headers={"accept": "application/json"},
        )
    return _object(answer)


def _form(text: str) -> str:
    """As RFC 6749, 2.3.1 wants the two in the header."""
    return urlencode({"": text})[1:]


def _verified(
    provider: Provider, found: dict[str, str], attempt: Attempt, token: str, allow: egress.AllowList
) -> dict[str, Any]:
    """OpenID Connect Core, 3.1.3.7."""
    try:
        said = jwt.decode(
            token,
            _key(token, found["jwks_uri"], allow),
            algorithms=ALGORITHMS,
            audience=provider.client_id,
            issuer=provider.issuer,
            leeway=LEEWAY_S,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except jwt.PyJWTError as error:
        raise SignInError(f"The provider's identity token cannot be believed: {_why(error)}") from error
    if not secrets.compare_digest(str(said.get("nonce", "")), attempt.nonce):
        raise SignInError("The provider answered another attempt.")
    many = isinstance(said["aud"], list) and len(said["aud"]) > 1
    if (many or "azp" in said) and said.get("azp") != provider.client_id:
        raise SignInError("The provider's identity token is for another application.")
    return dict(said)


def _key(token: str, url: str, allow: egress.AllowList) -> Any:
    """The key that signed. Keys are kept for a while; for one that is not known the provider is asked once more."""
    head = jwt.get_unverified_header(token)
    if head.get("alg") not in ALGORITHMS:
        raise jwt.InvalidAlgorithmError
    place = "oidc-keys:" + hashlib.sha256(url.encode()).hexdigest()
    kept = cache.get(place)
    found = _fitting(kept, head) if kept is not None else None
    if found is None:
        published = _document(url, allow)
        cache.set(place, published, _KEPT_S)
        found = _fitting(published, head)
    if found is None:
        raise SignInError("The provider's identity token is signed by a key that it does not publish.")
    try:
        return jwt.PyJWK(found, algorithm=head["alg"]).key
    except (ValueError, TypeError, KeyError) as error:
        raise jwt.InvalidKeyError from error


def _fitting(published: dict[str, Any], head: dict[str, Any]) -> dict[str, Any] | None:
    """The published key that a token's head names; without a name the only one."""
    listed = published.get("keys")
    keys = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    signing = [each for each in keys if each.get("use", "sig") == "sig"]
    if "kid" in head:
        return next((each for each in signing if each.get("kid") == head["kid"]), None)
    return signing[0] if len(signing) == 1 else None


def _user_info(found: dict[str, str], subject: str, token: str, allow: egress.AllowList) -> dict[str, Any]:
    if not token or not token.isascii() or not token.isprintable():
        return {}
    said = _document(found["userinfo_endpoint"], allow, {"authorization": f"Bearer {token}"})
    if said.get("sub") != subject:
        raise SignInError("The provider speaks of two people.")
    return said


def _claims(provider: Provider, said: dict[str, Any]) -> Claims:
    groups = said.get(provider.groups_claim)
    names = [groups] if isinstance(groups, str) else groups
    verified = said.get("email_verified")
    return Claims(
        subject=_text(said["sub"]),
        email=_text(said.get("email")).lower(),
        email_verified=None if verified is None else str(verified).lower() == "true",
        name=_text(said.get("name"))[:150],
        given_name=_text(said.get("given_name"))[:150],
        family_name=_text(said.get("family_name"))[:150],
        groups=tuple(_text(each) for each in names[:_GROUPS_MAX]) if isinstance(names, list) else None,
    )


def _text(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if len(text) > _TEXT_MAX or "\x00" in text:
        raise SignInError("The provider says something that is too long.")
    return text.strip()


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if answer.status_code != httpx.codes.OK or not isinstance(found, dict):
        said = found.get("error") if isinstance(found, dict) else None
        words = f"HTTP {answer.status_code}" + (f", {str(said)[:80]}" if said else "")
        raise SignInError(f"The provider answered {answer.request.url.host} with {words}.")
    return found


class _asking:  # noqa: N801 - reads as a word in a with statement
    """Whatever goes wrong on the way is a sign-in that did not work."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SignInError):
            return
        if isinstance(error, MarketplaceError):
            raise SignInError(f"The provider could not be asked: {error.message}") from error
        if isinstance(error, (httpx.HTTPError, ValueError)):
            raise SignInError("The provider could not be reached.") from error


def _why(error: jwt.PyJWTError) -> str:
    return {
        "ExpiredSignatureError": "it has expired; is a clock wrong?",
        "InvalidAudienceError": "it is for another application.",
        "InvalidIssuerError": "it names another issuer.",
        "InvalidSignatureError": "its signature is wrong.",
        "ImmatureSignatureError": "it is not valid yet; is a clock wrong?",
    }.get(type(error).__name__, "it is not well formed.")
