"""Closed: asking a token endpoint, and believing only what is a bearer token. Registering as a client (RFC 7591)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from access.oauth.discovery import AuthServer, DiscoveryError, client
from core.egress import AllowList
from core.errors import UpstreamError

_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}\Z")
# Errors that no later attempt cures (RFC 6749 section 5.2).
_FINAL = frozenset(
    {"invalid_grant", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
)
_LIFE_S, _LIFE_MAX_S = 3600, 30 * 86400


class TokenError(UpstreamError):
    """No token came. `is_final`: asking again with the same will not help."""

    code = "access.oauth_token_failed"
    default_message = "The authorization server gave no token."

    def __init__(self, message: str | None = None, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Client:
    client_id: str
    secret: str = ""
    method: str = "none"

    def __repr__(self) -> str:
        return f"Client({self.client_id!r})"


@dataclass(frozen=True, slots=True)
class Token:
    access: str
    refresh: str
    life_s: int
    scope: str

    def __repr__(self) -> str:
        return "Token(<secret>)"


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorization_url(server: AuthServer, as_client: Client, *, redirect_uri: str, state: str, verifier: str) -> str:
    """Raises DiscoveryError when the server is not safe for a person's authorization."""
    if not server.authorization_endpoint:
        raise DiscoveryError("The authorization server has no page for people.")
    if not server.pkce:
        raise DiscoveryError("The authorization server does not support PKCE with S256, which we do not go without.")
    query = {
        "response_type": "code",
        "client_id": as_client.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
        "resource": server.resource,
        **({"scope": server.scope} if server.scope else {}),
    }
    return server.authorization_endpoint + ("&" if "?" in server.authorization_endpoint else "?") + urlencode(query)


def redeem(
    server: AuthServer, as_client: Client, allow: AllowList, *, code: str, redirect_uri: str, verifier: str
) -> Token:
    grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    return _ask(server.token_endpoint, as_client, allow, {**grant, "resource": server.resource})


def refresh(endpoint: str, as_client: Client, allow: AllowList, *, token: str, resource: str) -> Token:
    grant = {"grant_type": "refresh_token", "refresh_token": token, "resource": resource}
    return _ask(endpoint, as_client, allow, grant)


def for_client(endpoint: str, as_client: Client, allow: AllowList, *, resource: str, scope: str) -> Token:
    grant = {"grant_type": "client_credentials", "resource": resource}
    return _ask(endpoint, as_client, allow, {**grant, **({"scope": scope} if scope else {})})


def register(server: AuthServer, allow: AllowList, *, name: str, redirect_uri: str) -> Client:
    """Register dynamically. Raises DiscoveryError."""
    if not server.registration_endpoint:
        raise DiscoveryError(
            "The authorization server knows no client of ours and registers none by itself.",
            next_step="Whoever manages keys registers one there, and enters its id on this page.",
        )
    wanted = {
        "client_name": name,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none" if "none" in server.auth_methods else method_for(server.auth_methods),
        "application_type": "web",
        **({"scope": server.scope} if server.scope else {}),
    }
    with client(allow) as browser:
        try:
            reply = browser.post(server.registration_endpoint, json=wanted)
            found = reply.json() if reply.status_code in {200, 201} else None
        except (httpx.HTTPError, ValueError) as exc:
            raise DiscoveryError("The authorization server did not register us.") from exc
    client_id = found.get("client_id") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(client_id, str) or not 0 < len(client_id) <= 500:
        raise DiscoveryError("The authorization server did not register us.")
    secret = found.get("client_secret")
    method = found.get("token_endpoint_auth_method", wanted["token_endpoint_auth_method"])
    return Client(
        client_id, secret if isinstance(secret, str) else "", str(method) if isinstance(secret, str) else "none"
    )


def method_for(methods: tuple[str, ...]) -> str:
    """How a client with a secret proves itself: in the header, unless the server only takes it in the body."""
    return (
        "client_secret_post"
        if "client_secret_basic" not in methods and "client_secret_post" in methods
        else ("client_secret_basic")
    )


def new_secret() -> str:
    return secrets.token_urlsafe(48)


def _ask(endpoint: str, as_client: Client, allow: AllowList, form: dict[str, str]) -> Token:
    headers = {}
    if as_client.secret and as_client.method == "client_secret_post":
        form = {**form, "client_id": as_client.client_id, "client_secret": as_client.secret}
    elif as_client.secret:
        pair = f"{quote(as_client.client_id, safe='')}:{quote(as_client.secret, safe='')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form = {**form, "client_id": as_client.client_id}
    with client(allow) as browser:
        try:
            reply = browser.post(endpoint, data=form, headers=headers)
            answer = reply.json()
        except httpx.HTTPError as exc:
            raise TokenError("The authorization server cannot be reached.") from exc
        except ValueError as exc:
            raise TokenError("The authorization server's answer is no JSON.") from exc
    if not isinstance(answer, dict) or reply.status_code != 200:
        error = answer.get("error") if isinstance(answer, dict) else None
        known = (
            error if isinstance(error, str) and re.fullmatch(r"[a-z_]{1,60}", error) else f"HTTP {reply.status_code}"
        )
        raise TokenError(f"The authorization server refused: {known}.", is_final=error in _FINAL)
    return _read(answer)


def _read(answer: dict[str, Any]) -> Token:
    access, refreshing = answer.get("access_token"), answer.get("refresh_token")
    if not isinstance(access, str) or not _TOKEN.match(access) or str(answer.get("token_type", "")).lower() != "bearer":
        raise TokenError("The authorization server's answer holds no bearer token.")
    life = answer.get("expires_in", _LIFE_S)
    life_s = int(life) if isinstance(life, int | float) or (isinstance(life, str) and life.isdigit()) else _LIFE_S
    scope = answer.get("scope")
    return Token(
        access=access,
        refresh=refreshing if isinstance(refreshing, str) and _TOKEN.match(refreshing) else "",
        life_s=min(max(life_s, 1), _LIFE_MAX_S),
        scope=scope[:1000] if isinstance(scope, str) else "",
    )
