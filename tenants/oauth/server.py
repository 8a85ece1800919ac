"""The authorization server: the library's clients and request validation, our consents, codes and tokens.

One instance serves one request. Only the code flow with PKCE (S256), refresh tokens and client credentials exist; everything
else that OAuth once had is not configured, which is how it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar

from allauth.idp.oidc.internal.oauthlib.request_validator import OAuthLibRequestValidator
from allauth.idp.oidc.models import Client, Token
from oauthlib.common import Request
from oauthlib.oauth2 import AuthorizationCodeGrant as LibraryCodeGrant
from oauthlib.oauth2 import BearerToken, ClientCredentialsGrant, RefreshTokenGrant
from oauthlib.oauth2.rfc6749.endpoints import AuthorizationEndpoint, RevocationEndpoint, TokenEndpoint
from oauthlib.oauth2.rfc6749.grant_types.authorization_code import code_challenge_method_s256

from core.tokens import TokenRefusedError
from tenants.models import Consent
from tenants.oauth import access_tokens, assertions, client_keys, clients, grants, redirects, resources, scopes
from tenants.oauth.assertions import Proof
from tenants.oauth.grants import Held
from tenants.selectors import consents as selectors
from tenants.services import consents

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
Headers = dict[str, str]


class CodeGrant(LibraryCodeGrant):
    """With the one challenge method that hides the verifier."""

    _code_challenge_methods: ClassVar[dict[str, Any]] = {"S256": code_challenge_method_s256}


class Validator(OAuthLibRequestValidator):
    """The library's answers about clients; our own about codes, scopes and tokens."""

    def __init__(
        self, *, wanted_resources: Iterable[str] = (), may_fetch: bool = False, proof: Proof | None = None
    ) -> None:
        super().__init__()
        self._wanted, self._may_fetch, self._proof = list(wanted_resources), may_fetch, proof
        self._held: Held | None = None
        self._consent: Consent | None = None
        self._audience: list[str] = []

    # Who the client is

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        return self._proof is not None or super().client_authentication_required(request, *args, **kwargs)

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        """By the signed proof that it brought, or by its secret: a client that has keys has no secret."""
        if self._proof is None:
            is_known = super().authenticate_client(request, *args, **kwargs)
            return is_known and not client_keys.has_any(request.client.pk)
        client = self._lookup_client(request, self._proof.client_id)
        if client is None or not assertions.spend(self._proof):
            return False
        self._use_client(request, client)
        return True

    # The authorization request

    def validate_redirect_uri(self, client_id: str, redirect_uri: str, request: Request, *args: Any, **_: Any) -> bool:
        return redirects.matches(redirect_uri, request.client.get_redirect_uris())

    def is_pkce_required(self, client_id: str, request: Request) -> bool:
        return True

    def validate_scopes(
        self, client_id: str, wanted: list[str], client: Client, request: Request, *args: Any, **_: Any
    ) -> bool:
        allowed = scopes.known(client.get_scopes())
        request.scopes = [scope for scope in scopes.known(wanted) if scope in allowed]
        if request.grant_type == Client.GrantType.CLIENT_CREDENTIALS:
            return self._machine(request, wanted)
        return bool(request.scopes)

    def get_default_scopes(self, client_id: str, request: Request, *args: Any, **_: Any) -> list[str]:
        if request.grant_type == Client.GrantType.CLIENT_CREDENTIALS:
            return request.client.get_scopes()
        return list(scopes.DEFAULT)

    # Codes

    def validate_code(self, client_id: str, code: str, client: Client, request: Request, *args: Any, **_: Any) -> bool:
        return self._take(Token.Type.AUTHORIZATION_CODE, code, client, request)

    def get_code_challenge(self, code: str, request: Request) -> str | None:
        return self._held.data["code_challenge"] if self._held else None

    def get_code_challenge_method(self, code: str, request: Request) -> str | None:
        return "S256"

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Client, request: Request, *args: Any, **_: Any
    ) -> bool:
        return self._held is not None and redirect_uri == self._held.data["redirect_uri"]

    def invalidate_authorization_code(self, client_id: str, code: str, request: Request, *args: Any, **_: Any) -> None:
        """It was spent together with the making of its tokens."""

    # Refresh tokens

    def validate_refresh_token(
        self, refresh_token: str, client: Client, request: Request, *args: Any, **_: Any
    ) -> bool:
        return self._take(Token.Type.REFRESH_TOKEN, refresh_token, client, request)

    def get_original_scopes(self, refresh_token: str, request: Request, *args: Any, **_: Any) -> list[str]:
        return self._held.token.get_scopes() if self._held else []

    def is_within_original_scope(
        self, request_scopes: list[str], refresh_token: str, request: Request, *args: Any, **_: Any
    ) -> bool:
        original = self.get_original_scopes(refresh_token, request)
        known = scopes.known(request_scopes)
        request.scopes = known
        return bool(known) and set(known) <= set(original)

    # Issuing

    def access_token(self, request: Request) -> str:
        assert self._consent is not None
        return access_tokens.issue(self._consent, request.scopes, self._audience)

    def refresh_token(self, request: Request) -> str:
        assert self._consent is not None
        assert self._held is not None
        if Client.GrantType.REFRESH_TOKEN not in request.client.get_grant_types():
            return ""
        # A narrower access token does not narrow what may be refreshed (RFC 6749, 6).
        return grants.make_refresh(self._consent, self._held.token.get_scopes())

    def save_bearer_token(self, token: dict[str, Any], request: Request, *args: Any, **_: Any) -> None:
        """Access tokens are kept nowhere; what they were issued for is used up here."""
        if self._held is not None:
            grants.spend(self._held)
        if not token.get("refresh_token"):
            token.pop("refresh_token", None)
        token["scope"] = " ".join(request.scopes)

    def revoke_token(self, token: str, token_type_hint: str, request: Request, *args: Any, **_: Any) -> None:
        """Either kind ends the consent (RFC 7009, 2.1), unless it is a machine's, which an admin ends."""
        held = grants.look_up(Token.Type.REFRESH_TOKEN, token, request.client)
        consent = held.consent if held else _consent_of(token)
        is_own = consent is not None and consent.client_id == request.client.pk
        if consent is not None and is_own and consent.kind == Consent.Kind.PERSON:
            consents.revoke(consent.pk, actor=consent.user)

    def _take(self, kind: Token.Type, value: str, client: Client, request: Request) -> bool:
        self._held = grants.look_up(kind, value, client)
        if self._held is None:
            return False
        self._consent = self._held.consent
        self._audience = resources.within(self._wanted, self._consent.resources)
        request.scopes, request.user = self._held.token.get_scopes(), self._consent.user
        return True

    def _machine(self, request: Request, wanted: list[str]) -> bool:
        consent = Consent.objects.select_related("tenant").filter(client=request.client).first()
        if consent is None or consent.kind != Consent.Kind.MACHINE or not grants.is_live(consent):
            return False
        self._consent, self._audience = consent, resources.within(self._wanted, consent.resources)
        # `admin` is not open to applications, but an admin may have given it to an agent.
        request.scopes = [scope for scope in consent.scopes if scope in wanted]
        return bool(request.scopes)

    def _lookup_client(self, request: Request, client_id: str | None) -> Client | None:
        return clients.find(client_id, may_fetch=self._may_fetch)


class AuthorizationServer(AuthorizationEndpoint, TokenEndpoint, RevocationEndpoint):
    def __init__(self, validator: Validator) -> None:
        code = CodeGrant(validator)
        bearer = BearerToken(
            validator,
            token_generator=validator.access_token,
            expires_in=access_tokens.LIFE_S,
            refresh_token_generator=validator.refresh_token,
        )
        AuthorizationEndpoint.__init__(
            self, default_response_type="code", response_types={"code": code}, default_token_type=bearer
        )
        TokenEndpoint.__init__(
            self,
            default_grant_type="authorization_code",
            grant_types={
                "authorization_code": code,
                "refresh_token": RefreshTokenGrant(validator),
                "client_credentials": ClientCredentialsGrant(validator),
            },
            default_token_type=bearer,
        )
        RevocationEndpoint.__init__(self, validator)


def is_challenge(text: str) -> bool:
    """Whether this can be the SHA-256 of a verifier, in base64url."""
    return _CHALLENGE.match(text) is not None


def _consent_of(text: str) -> Consent | None:
    try:
        consent_id = selectors.id_of(access_tokens.read(text).key_id)
    except TokenRefusedError:
        return None
    return Consent.objects.select_related("user").filter(pk=consent_id).first() if consent_id else None
