"""How the library's authorization server meets our rules: which clients may register, and under which name we issue."""

from __future__ import annotations

import secrets
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from allauth.idp.oidc.models import Client
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import JsonResponse

from tenants.oauth import client_keys, redirects
from tenants.oauth.scopes import SCOPES

GRANTS = ("authorization_code", "refresh_token")
_APPLICATION_TYPES = (None, "web", "native")
MAX_METADATA_BYTES = 16 * 1024


class OAuthAdapter(DefaultOIDCAdapter):
    def get_issuer(self) -> str:
        return str(settings.PUBLIC_URL)

    def generate_client_secret(self) -> str:
        return secrets.token_urlsafe(32)

    def validate_client_registration(self, *, client: Client, client_metadata: dict[str, Any], **kwargs: Any) -> None:
        """Take a registration down to what we do (RFC 7591 lets us). Raises when nothing would be left."""
        kind = client_metadata.get("application_type")
        if kind not in _APPLICATION_TYPES:
            raise ValidationError("application_type is web or native.")
        try:
            redirects.check_all(client.get_redirect_uris(), application_type=kind)
        except ValidationError as error:
            answer = {"error": "invalid_redirect_uri", "error_description": str(error.message)}
            raise ImmediateHttpResponse(JsonResponse(answer, status=400)) from error
        if client_metadata.get("token_endpoint_auth_method") == client_keys.METHOD:
            try:
                client_keys.of_metadata(client_metadata)
            except client_keys.KeysRefusedError as error:
                raise ValidationError(f"{error.message} {error.next_step}") from error
            client_keys.forbid_secret(client)
        shape(client)


def shape(client: Client) -> None:
    """Only codes, only our scopes. Raises ValidationError for a client that cannot use codes."""
    grants = [grant for grant in client.get_grant_types() if grant in GRANTS]
    if "authorization_code" not in grants or "code" not in client.get_response_types():
        raise ValidationError("Only the authorization code grant is open to registered clients.")
    client.set_grant_types(grants)
    client.set_response_types(["code"])
    client.set_scopes(list(SCOPES))
    client.name = client.name.strip() or "An application without a name"
