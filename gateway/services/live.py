"""What the gateway processes say of themselves and of the servers behind them, this second.

Each process writes its state to Valkey every second, under a key that expires when it falls silent. Nothing is kept: what nobody
says is unknown, and so is everything while Valkey is away.
"""

from __future__ import annotations

import functools
import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import redis
from django.conf import settings

from gateway.admission.shared import LIVE

log = logging.getLogger(__name__)

_WORST_FIRST = ("open", "half_open", "closed")


@dataclass(frozen=True, slots=True)
class ProcessLive:
    """One gateway process. `spool_bytes` are rows that wait for Postgres, `limits_shared` whether counters are common."""

    process: str
    pid: int
    at: datetime
    streams: int
    connected: bool
    rows: int
    spool_bytes: int
    spool_age_s: float
    entries_current: bool
    entries_pushed: bool
    limits_shared: bool

    @property
    def state(self) -> str:
        """In the words of a status: ok, degraded, down."""
        if not self.entries_current:
            return "down"
        whole = self.connected and self.limits_shared and self.entries_pushed and not self.spool_bytes
        return "ok" if whole else "degraded"


@dataclass(slots=True)
class ServerLive:
    """One server as all processes together see it. Latencies are the worst that any of them saw within the last minute."""

    server_id: UUID
    slug: str
    under_way: int = 0
    waiting: int = 0
    calls: int = 0
    failed: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    breaker: str = "closed"
    retry_s: float = 0.0
    opened_in: int = 0
    seen_by: int = 0
    endpoints: int = 1

    @property
    def state(self) -> str:
        """In the words of a status: ok, degraded, down, unknown."""
        if self.breaker == "open":
            return "down" if self.opened_in == self.seen_by else "degraded"
        if self.breaker == "half_open" or (self.calls and self.failed * 10 >= self.calls):
            return "degraded"
        return "ok" if self.calls else "unknown"

    @property
    def failed_percent(self) -> float | None:
        return round(100 * self.failed / self.calls, 1) if self.calls else None


@dataclass(frozen=True, slots=True)
class Picture:
    processes: list[ProcessLive]
    servers: dict[UUID, ServerLive] = field(default_factory=dict)


def read() -> Picture | None:
    """What is known this second; None when nobody can be asked."""
    try:
        client = _client()
        keys = sorted(client.scan_iter(LIVE + "*", count=100))
        texts = client.mget(keys) if keys else []
    except redis.RedisError:
        log.warning("live state not read", exc_info=True)
        return None
    said = {key.decode().removeprefix(LIVE): json.loads(text) for key, text in zip(keys, texts, strict=True) if text}
    picture = Picture([_process(name, body) for name, body in said.items()])
    for body in said.values():
        for server_id, state in body.get("servers", {}).items():
            key = UUID(server_id)
            _add(picture.servers.setdefault(key, ServerLive(key, state["slug"])), state)
    return picture


def _process(name: str, body: dict[str, Any]) -> ProcessLive:
    record, entries = body.get("record", {}), body.get("entries", {})
    return ProcessLive(
        process=name,
        pid=body.get("pid", 0),
        at=datetime.fromtimestamp(body["at"], UTC),
        streams=body.get("streams", 0),
        connected=record.get("connected", False),
        rows=record.get("rows", 0),
        spool_bytes=record.get("spool_bytes", 0),
        spool_age_s=record.get("spool_age_s", 0.0),
        entries_current=entries.get("current", False),
        entries_pushed=entries.get("pushed", False),
        limits_shared=body.get("limits_shared", False),
    )


def _add(server: ServerLive, state: dict[str, Any]) -> None:
    server.seen_by += 1
    server.under_way += state["calls"]
    server.waiting += state["waiting"]
    server.calls += state.get("calls_lately", 0)
    server.failed += state.get("failed_lately", 0)
    server.p50_ms, server.p95_ms = (
        _worse(server.p50_ms, state.get("p50_ms")),
        _worse(server.p95_ms, state.get("p95_ms")),
    )
    server.endpoints = max(1, len(state["endpoints"]))
    # A server with several addresses is shut only when every one of them is.
    best = max((each["breaker"] for each in state["endpoints"]), key=_WORST_FIRST.index, default="closed")
    if best == "open":
        server.opened_in += 1
        server.retry_s = max(server.retry_s, min(each["retry_s"] for each in state["endpoints"]))
    server.breaker = min(server.breaker, best, key=_WORST_FIRST.index)


def _worse(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)


@functools.cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
