"""A request whose parts name different organisations is refused by its door; here it is written down for whom it concerns."""

from __future__ import annotations

import logging

from django.core.cache import cache

from audit import services as audit
from tenants.context import platform_scope, tenant_scope
from tenants.models import APIKey, User

log = logging.getLogger(__name__)

# One event a minute and actor: who tries many addresses shall not write the log.
_ONCE_PER_S = 60
_SLUG_LENGTH_MAX = 60


def note_stranger(user: User, slug: str) -> None:
    """Somebody asked for pages of an organisation that they do not belong to, whether or not there is one of that name.

    The platform's log has it: neither organisation may learn of the other's people.
    """
    if _is_first(f"user:{user.pk}"):
        with platform_scope():
            actor = audit.Party("user", str(user.pk), user.email)
            audit.record("tenants:organisation:refused", actor=actor, target=_named(slug))


def note_key(key: APIKey, slug: str) -> None:
    """A key was sent along to the pages of another organisation. Its own organisation's log has it."""
    if _is_first(f"key:{key.pk}"):
        with tenant_scope(key.tenant):
            actor = audit.Party("key", key.key_id, key.name)
            audit.record("tenants:key:refused", actor=actor, target=_named(slug))


def _named(slug: str) -> audit.Party:
    return audit.Party("organisation", label=slug[:_SLUG_LENGTH_MAX])


def _is_first(actor: str) -> bool:
    try:
        return bool(cache.add(f"disagreement:{actor}", 1, _ONCE_PER_S))
    except Exception as error:  # noqa: BLE001 - the cache being away must not fail the page
        log.warning("disagreement not counted: %s", type(error).__name__)
        return True
