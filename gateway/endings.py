"""Rights that have ended, told at once and by their ids.

The entry that says the same follows when everything of its organisation is compiled, which takes a second where there are
thousands of grants; a right that was taken back must not live on for so long. Until then it is taken out of what is held.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from gateway.entries import TenantEntry


def without(entry: TenantEntry, ended: Collection[UUID], now: datetime) -> TenantEntry:
    """The entry once these keys, grants and sessions have ended. Ids that it does not know are nothing to it."""
    gone = frozenset(ended)
    return replace(
        entry,
        keys={name: key for name, key in entry.keys.items() if key.api_key_id not in gone},
        grants={
            server_id: rules
            if gone.isdisjoint(rule.grant_id for rule in rules)
            else tuple(replace(rule, revoked_at=now) if rule.grant_id in gone else rule for rule in rules)
            for server_id, rules in entry.grants.items()
        },
        sessions={
            server_id: rules
            if gone.isdisjoint(rule.session_id for rule in rules)
            else tuple(replace(rule, revoked_at=now) if rule.session_id in gone else rule for rule in rules)
            for server_id, rules in entry.sessions.items()
        },
    )
