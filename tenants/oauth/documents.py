"""JSON documents that clients publish about themselves: their descriptions and their keys.

The addresses are chosen by strangers. So they are asked through `core.http` (checked addresses, no redirects), in little time
and size.
"""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError

from core import http
from core.egress import parse_allow_list

MAX_BYTES = 16 * 1024
DEADLINE_S = 5.0
_KEEP_S = (60, 24 * 3600)  # bounds of what cache headers say
_KEEP_DEFAULT_S = 3600
_POOL = ThreadPoolExecutor(4, thread_name_prefix="client-documents")
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")


def fetch_in_time(url: str) -> tuple[Any, int]:
    """As `fetch`, never for longer than its deadline and a second."""
    try:
        # Headers may drip in for ever, which no timeout of a single read ends.
        return _POOL.submit(fetch, url).result(DEADLINE_S + 1)
    except TimeoutError as error:
        raise ValidationError("The document took too long.") from error


def fetch(url: str) -> tuple[Any, int]:
    """The document and for how many seconds to keep it. Raises ValidationError, MarketplaceError, ValueError or HTTPError."""
    ends, body = time.monotonic() + DEADLINE_S, b""
    with (
        http.client(parse_allow_list(settings.EGRESS_ALLOW), timeout=DEADLINE_S, max_reply_bytes=MAX_BYTES) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as response,
    ):
        if response.status_code != 200:
            raise ValidationError(f"The document's address answered with status {response.status_code}.")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise ValidationError("The document is not JSON.")
        for chunk in response.iter_bytes():
            body += chunk
            if time.monotonic() > ends:
                raise ValidationError("The document took too long.")
    try:
        return json.loads(body), _keep_s(response.headers.get("cache-control", ""))
    except RecursionError as error:
        raise ValidationError("The document is nested too deeply.") from error


def _keep_s(header: str) -> int:
    if "no-store" in header or "no-cache" in header:
        return _KEEP_S[0]
    found = _MAX_AGE.search(header)
    return min(max(int(found[1]), _KEEP_S[0]), _KEEP_S[1]) if found else _KEEP_DEFAULT_S
