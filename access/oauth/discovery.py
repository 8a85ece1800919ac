"""Closed: an authorization server is used only when every step to it was confirmed by the one before.

server -> protected resource metadata (RFC 9728) -> authorization server metadata (RFC 8414, OpenID discovery). Each address
passes the egress guard, is https unless the operator listed the host, is asked without a redirect, and answers within 5 s and
64 KB. The resource must be the server itself, and the metadata's issuer the one that was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from core import egress, http
from core.errors import UpstreamError

TIMEOUT_S = 5.0
MAX_BYTES = 64 * 1024
_METADATA = re.compile(r'resource_metadata="([^"\\]{1,2048})"')
_TEXT_MAX = 1000


class DiscoveryError(UpstreamError):
    """The way to an authorization server is not there, or not to be trusted."""

    code = "access.oauth_discovery_failed"
    default_next_step = "Ask the provider of the server to correct it."
    retryable = False


@dataclass(frozen=True, slots=True)
class AuthServer:
    """What was confirmed of an authorization server and the resource that it protects."""

    issuer: str
    resource: str
    token_endpoint: str
    authorization_endpoint: str = ""
    registration_endpoint: str = ""
    scope: str = ""
    pkce: bool = False
    takes_document: bool = False  # a client id may be the address of a document
    names_itself: bool = False  # RFC 9207: answers carry `iss`
    auth_methods: tuple[str, ...] = ("client_secret_basic",)

    def as_facts(self) -> dict[str, Any]:
        return asdict(self) | {"auth_methods": list(self.auth_methods)}

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> AuthServer:
        return cls(**{**facts, "auth_methods": tuple(facts["auth_methods"])})


def client(allow: egress.AllowList) -> httpx.Client:
    return http.client(
        allow, timeout=httpx.Timeout(TIMEOUT_S), max_reply_bytes=MAX_BYTES, headers={"accept": "application/json"}
    )


def discover(url: str, allow: egress.AllowList) -> AuthServer:
    """Raises DiscoveryError or EgressRefusedError."""
    endpoint = egress.parse_url(url, allow)
    with client(allow) as browser:
        resource = _resource(browser, endpoint, allow)
        issuer = next((each for each in resource.get("authorization_servers") or [] if isinstance(each, str)), "")
        if not issuer:
            raise DiscoveryError("The server names no authorization server.")
        require_safe(issuer, allow, "issuer")
        metadata = _metadata(browser, issuer)
    return _read(issuer, endpoint.url.partition("?")[0], resource, metadata, allow)


def require_safe(url: str, allow: egress.AllowList, what: str) -> str:
    """https, or a host that the operator listed. Raises DiscoveryError or EgressRefusedError."""
    endpoint = egress.parse_url(url, allow)
    if endpoint.scheme != "https" and (endpoint.host, endpoint.port) not in allow:
        raise DiscoveryError(f"The {what} is not an https address.")
    if "#" in url:
        raise DiscoveryError(f"The {what} carries a fragment.")
    return url


def _resource(browser: httpx.Client, endpoint: egress.Endpoint, allow: egress.AllowList) -> dict[str, Any]:
    for address in _resource_addresses(browser, endpoint):
        require_safe(address, allow, "resource metadata")
        if urlsplit(address)[:2] != urlsplit(endpoint.url)[:2]:
            raise DiscoveryError("The server's metadata lies on another host than the server.")
        document = _get(browser, address)
        if document is not None:
            _require_own(document, endpoint)
            return document
    raise DiscoveryError("The server publishes no protected resource metadata.")


def _resource_addresses(browser: httpx.Client, endpoint: egress.Endpoint) -> Iterator[str]:
    try:
        reply = browser.post(endpoint.url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    except httpx.HTTPError as exc:
        raise DiscoveryError("The server cannot be reached.") from exc
    if found := _METADATA.search(reply.headers.get("www-authenticate", "")):
        yield found[1]
    path = endpoint.path.partition("?")[0].rstrip("/")
    if path:
        yield f"{endpoint.origin}/.well-known/oauth-protected-resource{path}"
    yield f"{endpoint.origin}/.well-known/oauth-protected-resource"


def _require_own(document: dict[str, Any], endpoint: egress.Endpoint) -> None:
    """The metadata speaks of this server, or of a path above it. Raises DiscoveryError."""
    named, own = document.get("resource"), endpoint.url.partition("?")[0].rstrip("/")
    above = named.rstrip("/") if isinstance(named, str) else ""
    if not above or (own != above and not own.startswith(above + "/")) or not above.startswith(endpoint.origin):
        raise DiscoveryError("The metadata is that of another resource.")


def _metadata(browser: httpx.Client, issuer: str) -> dict[str, Any]:
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [f"{origin}/.well-known/{kind}{path}" for kind in ("oauth-authorization-server", "openid-configuration")]
    if path:
        places.append(f"{origin}{path}/.well-known/openid-configuration")
    for place in places:
        document = _get(browser, place)
        if document is not None:
            if not same_issuer(document.get("issuer"), issuer):
                raise DiscoveryError("The authorization server calls itself by another name than it was given.")
            return document
    raise DiscoveryError("The authorization server publishes no metadata.")


def same_issuer(one: object, other: str) -> bool:
    """Equal as plain strings; only of a bare origin the slash at its end means nothing (RFC 3986 section 6.2.3)."""
    if not isinstance(one, str):
        return False
    return one == other or (one.rstrip("/") == other.rstrip("/") and not urlsplit(one).path.strip("/"))


def _get(browser: httpx.Client, address: str) -> dict[str, Any] | None:
    """The document, None where there is none. Raises DiscoveryError."""
    try:
        reply = browser.get(address)
        if reply.status_code != 200:
            return None
        document = reply.json()
    except httpx.HTTPError as exc:
        raise DiscoveryError("The metadata cannot be reached.") from exc
    except ValueError as exc:
        raise DiscoveryError("The metadata is no JSON.") from exc
    if not isinstance(document, dict):
        raise DiscoveryError("The metadata is no JSON object.")
    return document


def _read(
    issuer: str, own: str, resource: dict[str, Any], metadata: dict[str, Any], allow: egress.AllowList
) -> AuthServer:
    addresses = {
        name: require_safe(metadata[name], allow, name.replace("_", " ")) if _is_text(metadata.get(name)) else ""
        for name in ("token_endpoint", "authorization_endpoint", "registration_endpoint")
    }
    if not addresses["token_endpoint"]:
        raise DiscoveryError("The authorization server names no token endpoint.")
    scopes = [each for each in resource.get("scopes_supported") or [] if _is_text(each)]
    methods = tuple(each for each in metadata.get("token_endpoint_auth_methods_supported") or [] if _is_text(each))
    return AuthServer(
        issuer=metadata["issuer"],
        resource=resource["resource"] if _is_text(resource.get("resource")) else own,
        scope=" ".join(scopes)[:_TEXT_MAX],
        pkce="S256" in (metadata.get("code_challenge_methods_supported") or []),
        takes_document=metadata.get("client_id_metadata_document_supported") is True,
        names_itself=metadata.get("authorization_response_iss_parameter_supported") is True,
        auth_methods=methods or ("client_secret_basic",),
        **addresses,
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= egress.MAX_URL_LENGTH
