"""A look at a server at somebody's wish: does it answer us now?

Asked from here, within seconds and through the egress guard. One look serves everybody for a while, so that no page becomes a
way to send requests to a stranger's server. It is a reading for a person and changes nothing: states come from health checks.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.core.cache import cache

from catalog import inventory
from catalog.errors import ServerSignInError
from core import clock
from core.errors import ConflictError, MarketplaceError

SECONDS_MAX = 6.0
_AGAIN_S, _KEPT_S = 30, 3600
_BOUNDS = inventory.Bounds(seconds=SECONDS_MAX, bytes=2 * 1024 * 1024, pages=10, counts=False)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reach:
    """`state` as pages draw it: ok, degraded, down. `took_ms` is the whole look."""

    state: str
    words: str
    took_ms: int
    at: datetime


def last_reach(server_id: UUID) -> Reach | None:
    """What the last look of the past hour found."""
    try:
        found = cache.get(_kept(server_id))
    except Exception as error:  # noqa: BLE001 - the cache being away must not fail the page
        log.warning("no looks at servers kept: %s", type(error).__name__)
        return None
    return found if isinstance(found, Reach) else None


def reach(server_id: UUID, url: str) -> Reach:
    """Look now, unless somebody did a moment ago: then what was found stands. Raises ConflictError while another looks."""
    if not cache.add(f"reach-started:{server_id}", 1, _AGAIN_S):
        found = last_reach(server_id)
        if found is None:
            raise ConflictError(
                "Somebody else is checking this server at this moment.", next_step="Look again in a few seconds."
            )
        return found
    found = _look(url)
    cache.set(_kept(server_id), found, _KEPT_S)
    return found


def _look(url: str) -> Reach:
    began_ms, at = clock.monotonic_ms(), clock.now()
    try:
        read = inventory.read(url, bounds=_BOUNDS)
        number = len(read.tools)
        state, words = "ok", f"It answered with {number} tool{'' if number == 1 else 's'}, protocol {read.protocol}."
    except ServerSignInError:
        state, words = "ok", "It answered, and asks for a sign-in before it says more."
    except MarketplaceError as error:
        state, words = "down", error.message
    return Reach(state, words, round(clock.monotonic_ms() - began_ms), at)


def _kept(server_id: UUID) -> str:
    return f"reach:{server_id}"
