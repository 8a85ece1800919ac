"""Telling gateways what changed: the compiled entry itself goes out through Valkey right after the commit.

A lost message costs a second, not safety: every gateway also polls revisions in Postgres.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from typing import Any
from uuid import UUID

import redis
from django.conf import settings

from gateway import codec, pushed
from gateway.services.entries import server_entries, tenant_entry

log = logging.getLogger(__name__)


def publish_tenant(tenant_id: UUID) -> None:
    entry = tenant_entry(tenant_id)
    if entry is None:
        _send({"kind": "gone", "tenant_id": str(tenant_id)})
    else:
        _send({"kind": "tenant", "revision": entry.revision, "body": codec.to_json(entry)})


def publish_ended(tenant_id: UUID, revision: int, ended: Collection[UUID]) -> None:
    """Rights that were taken back as of this revision, ahead of the entry: compiling a large one takes its time."""
    _send({"kind": "ended", "tenant_id": str(tenant_id), "revision": revision, "ids": [str(each) for each in ended]})


def publish_server(server_id: UUID) -> None:
    entries = server_entries(server_id=server_id)
    if not entries:
        _send({"kind": "gone", "server_id": str(server_id)})
    for entry in entries:
        _send({"kind": "server", "revision": entry.revision, "body": codec.to_json(entry)})


def publish_signing() -> None:
    """Only that they changed: each gateway loads them, because a private key goes through no channel."""
    _send({"kind": "signing"})


def _send(message: dict[str, Any]) -> None:
    try:
        _client().publish(pushed.CHANNEL, pushed.mark(settings.SESSION_SEAL_KEY, message))
    except redis.RedisError:
        log.warning("push to gateways failed; they will poll", exc_info=True)


@functools.cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
