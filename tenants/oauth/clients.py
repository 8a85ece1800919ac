"""Finding a client: a registered one, or one whose id is the address of its own description.

Such a description (Client ID Metadata Document) is fetched from an address that a stranger chose. So it goes through
`core.http` (checked addresses, no redirects), in little time and size, seldom, and only for people who have signed in; the
library's own fetching is not used. What was fetched is kept as its cache headers say.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from allauth.core import context
from allauth.core.internal import ratelimit
from allauth.idp.oidc.internal import cimd
from allauth.idp.oidc.models import Client
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError

from core import clock, http
from core.egress import parse_allow_list
from core.errors import MarketplaceError
from tenants.oauth import redirects
from tenants.oauth.adapter import shape

log = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024
DEADLINE_S = 5.0
_KEEP_S = (60, 24 * 3600)  # bounds of what cache headers say
_KEEP_DEFAULT_S = 3600
_FAILED_S = 30
_POOL = ThreadPoolExecutor(4, thread_name_prefix="client-metadata")
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")


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
    try:
        # Headers may drip in for ever, which no timeout of a single read ends.
        document, keep_s = _POOL.submit(fetch, client_id).result(DEADLINE_S + 1)
    except TimeoutError as error:
        raise ValidationError("The description took too long.") from error
    client = validated(cimd.validate_metadata(client_id, parsed, document), document)
    client.data["fresh_until"] = int(clock.now().timestamp()) + keep_s
    client.save(force_update=known)
    return client


def validated(client: Client, document: dict[str, Any]) -> Client:
    """Raises ValidationError for a description that promises what we do not do, or holds what must not be public."""
    if "client_secret" in document or document.get("token_endpoint_auth_method", "none") != "none":
        raise ValidationError("A client with a public description has no secret, so its method is none.")
    redirects.check_all(client.get_redirect_uris(), application_type=document.get("application_type"))
    if not client.name.isprintable():
        raise ValidationError("The name holds characters that cannot be shown.")
    shape(client)
    return client


def fetch(url: str) -> tuple[Any, int]:
    """The document and for how many seconds to keep it. Raises ValidationError, MarketplaceError, ValueError or HTTPError."""
    ends, body = time.monotonic() + DEADLINE_S, b""
    with (
        http.client(parse_allow_list(settings.EGRESS_ALLOW), timeout=DEADLINE_S, max_reply_bytes=MAX_BYTES) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as response,
    ):
        if response.status_code != 200:
            raise ValidationError(f"The description answered with status {response.status_code}.")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise ValidationError("The description is not JSON.")
        for chunk in response.iter_bytes():
            body += chunk
            if time.monotonic() > ends:
                raise ValidationError("The description took too long.")
    try:
        return json.loads(body), _keep_s(response.headers.get("cache-control", ""))
    except RecursionError as error:
        raise ValidationError("The description is nested too deeply.") from error


def _keep_s(header: str) -> int:
    if "no-store" in header or "no-cache" in header:
        return _KEEP_S[0]
    found = _MAX_AGE.search(header)
    return min(max(int(found[1]), _KEEP_S[0]), _KEEP_S[1]) if found else _KEEP_DEFAULT_S


def _failed(client_id: str) -> str:
    return f"oauth-client-failed:{hashlib.sha256(client_id.encode()).hexdigest()}"
