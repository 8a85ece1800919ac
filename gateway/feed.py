"""How entries stay current: a push through Valkey within milliseconds, a poll of revisions every second as the safety net.

Rights that were taken back are told ahead of the entry (`gateway.endings`).

Either alone is enough. When neither has worked for `stale_after_s`, `is_current` turns false and the pipeline decides nothing
(closed): a revoked grant must not live on because two stores are away. Push alone is enough for `pushed_for_s`: while Postgres is
away nothing can be revoked, as that is where grants live. Valkey being away is logged and otherwise unnoticed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import redis.asyncio as redis

from gateway import codec, pushed, valkey
from gateway.entries import ServerEntry, TenantEntry
from gateway.ports import Loader
from gateway.pushed import CHANNEL
from gateway.store import EntryStore

log = logging.getLogger(__name__)

_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_PING_S = 1.0
_SILENCE_S = 3.0


class Feed:
    def __init__(
        self,
        store: EntryStore,
        loader: Loader,
        redis_url: str,
        *,
        key: bytes,
        poll_interval_s: float,
        stale_after_s: float,
        pushed_for_s: float,
        signing_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._loader = store, loader
        self._redis_url, self._signing_changed = redis_url, signing_changed
        self._key = key
        self._poll_interval_s, self._stale_after_s = poll_interval_s, stale_after_s
        self._pushed_for_s = pushed_for_s
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[None]] = []
        self._polled_at = self._loop.time()
        self._pushed = False
        self._stopping = False

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._poll_forever()), asyncio.create_task(self._listen_forever())]

    async def stop(self) -> None:
        self._stopping = True
        await valkey.end(self._tasks)

    @property
    def is_pushed(self) -> bool:
        return self._pushed

    def is_current(self) -> bool:
        """Whether what is held may be decided on.

        Push alone is believed for a while only: a change whose push was lost in the moment that Postgres went away is found by
        the next poll, and not before.
        """
        limit = self._pushed_for_s if self._pushed else self._stale_after_s
        return self._loop.time() - self._polled_at <= limit

    def apply(self, message: bytes) -> None:
        """Take one pushed entry; raises ValueError for a forged one. Only what is held matters, and names that are held."""
        data = pushed.read(self._key, message)
        body = data.get("body") or {}
        match data["kind"]:
            case "tenant":
                self._store.note_keys(body["keys"])
                if self._store.holds(tenant_id=UUID(body["tenant_id"])):
                    self._store.apply_tenant(codec.from_json(TenantEntry, body))
            case "server":
                self._store.apply_server(codec.from_json(ServerEntry, body))
            case "signing":
                self._signing_changed()
            case "ended":
                self._store.end_rights(UUID(data["tenant_id"]), data["revision"], [UUID(each) for each in data["ids"]])
            case "gone":
                if "tenant_id" in data:
                    self._store.drop_tenant(UUID(data["tenant_id"]))
                if "server_id" in data:
                    self._store.drop_server(UUID(data["server_id"]))

    async def poll(self) -> None:
        """Compare the revisions of everything held with the database, and reload what is behind or gone."""
        tenant_ids, server_ids = self._store.held()
        tenants, servers = await self._store.call(self._loader.revisions, tenant_ids, server_ids)
        for tenant_id in tenant_ids:
            if self._is_behind(tenants.get(tenant_id), self._store.tenant_revision(tenant_id)):
                await self._store.reload_tenant(tenant_id)
        for server_id in server_ids:
            if self._is_behind(servers.get(server_id), self._store.server_revision(server_id)):
                await self._store.reload_server(server_id)
        self._polled_at = self._loop.time()

    @staticmethod
    def _is_behind(current: int | None, held: int | None) -> bool:
        return held is not None and (current is None or current > held)

    async def _poll_forever(self) -> None:
        while not self._stopping:
            await asyncio.sleep(self._poll_interval_s)
            try:
                async with asyncio.timeout(self._stale_after_s):
                    await self.poll()
            except Exception as exc:  # noqa: BLE001 - whatever the database raises, the next second tries again
                log.warning("revisions not read: %s", type(exc).__name__)

    async def _listen_forever(self) -> None:
        attempt = 0
        while not self._stopping:
            try:
                await self._listen()
                attempt = 0
            except Exception as exc:  # noqa: BLE001 - Valkey, or the database that catches up on what was missed
                log.warning("push from Valkey is away: %s", type(exc).__name__)
            finally:
                self._pushed = False
            await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
            attempt += 1

    async def _listen(self) -> None:
        client = redis.from_url(self._redis_url, socket_connect_timeout=2, socket_timeout=5)
        try:
            async with client.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                # Pushes that were missed while away are caught up before push counts as working.
                await self.poll()
                self._signing_changed()
                await self._receive(channel)
        finally:
            await valkey.close(client)

    async def _receive(self, channel: Any) -> None:
        heard = self._loop.time()
        while True:
            message = await channel.get_message(timeout=_PING_S)
            now = self._loop.time()
            if message is None:
                if now - heard > _SILENCE_S:
                    raise TimeoutError("no answer to a ping")
                await channel.ping()
                continue
            heard = now
            self._pushed = True
            if message["type"] == "message":
                self._take(message["data"])

    def _take(self, data: bytes) -> None:
        try:
            self.apply(data)
        except Exception as exc:  # noqa: BLE001 - one bad message must not end the feed; the poll repairs
            log.warning("pushed entry not understood: %s", type(exc).__name__)
