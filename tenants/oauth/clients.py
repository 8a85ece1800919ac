"""Finding a client: a registered one, or one whose id is the address of its own description.

Such a description (Client ID Metadata Document) is fetched from an address that a stranger chose. So it goes through
`core.http` (checked addresses, no redirects), in little time and size, seldom, and only for people who have signed in; the
library's own fetching is not used. What was fetched is kept as its cache headers say.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import httpx
from allauth.core import context
from allauth.core.internal import ratelimit
from allauth.idp.oidc.internal import cimd
from allauth.idp.oidc.models import Client
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction

from core import clock
from core.errors import MarketplaceError
from tenants.oauth import client_keys, documents, redirects
from tenants.oauth.adapter import shape

log = logging.getLogger(__name__)

_FAILED_S = 30


def find(client_id: str | None, *, may_fetch: bool = False) -> Client | None:
    """The client of this id. `may_fetch`: a description that is not known, or out of date, is fetched."""
    if not client_id or not client_id.isprintable():
        return None
    client = Client.objects.filter(pk=client_id).first()
    if not cimd.is_cimd_url(client_id) or not may_fetch:
        return client
    if client is not None and (client.data or {}).get("fresh_until", 0) > clock.now().timestamp():
        return client
    try:
        return _fetched(client_id, known=client is not None)
    except (ValidationError, MarketplaceError, httpx.HTTPError, ValueError) as error:
        log.info("client metadata refused", extra={"client_id": client_id[:200], "why": str(error)[:200]})
        cache.set(_failed(client_id), True, _FAILED_S)
        return None


def _fetched(client_id: str, *, known: bool) -> Client:
    parsed = cimd.validate_client_id(client_id)
    if cache.get(_failed(client_id)):
        raise ValidationError("It failed a moment ago.")
    if not ratelimit.consume(context.request, action="cimd_fetch", app="allauth.idp.oidc", limit_get=True):
        raise ValidationError("Too many descriptions were fetched from this address.")
    document, keep_s = documents.fetch_in_time(client_id)
    client = validated(cimd.validate_metadata(client_id, parsed, document), document)
    client.data["fresh_until"] = int(clock.now().timestamp()) + keep_s
    with transaction.atomic():
        client.save(force_update=known)
        if client.type == Client.Type.CONFIDENTIAL:
            client_keys.keep(client, client_keys.of_metadata(document))
        else:
            client_keys.forget(client)
    return client


def validated(client: Client, document: dict[str, Any]) -> Client:
    """Raises ValidationError for a description that promises what we do not do, or holds what must not be public."""
    method = document.get("token_endpoint_auth_method", "none")
    if "client_secret" in document or method not in ("none", client_keys.METHOD):
        raise ValidationError(
            f"A client with a public description has no secret: its method is none or {client_keys.METHOD}."
        )
    if method == client_keys.METHOD:
        client_keys.of_metadata(document)
        client_keys.forbid_secret(client)
    redirects.check_all(client.get_redirect_uris(), application_type=document.get("application_type"))
    if not client.name.isprintable():
        raise ValidationError("The name holds characters that cannot be shown.")
    shape(client)
    return client


def _failed(client_id: str) -> str:
    return f"oauth-client-failed:{hashlib.sha256(client_id.encode()).hexdigest()}"
