"""The entries that this process holds: loaded on first use, replaced only by newer revisions, looked up without waiting.

`find_*` answer from memory at once; `load_*` ask the loader, one question at a time per key or name however many callers wait.
"Not there" is remembered for two seconds and for a bounded number of names, and forgotten when a push says otherwise. Keys that
are not held are looked up together, one question at a time, so that the database is asked no faster than it answers, however
many are guessed. An error of the loader is not "not there": it raises PolicyUnavailableError and nothing is decided.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import Executor
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from core import clock
from core.errors import UnavailableError
from gateway import endings
from gateway.circumstances import USUAL_HEADER
from gateway.entries import ServerEntry, TenantEntry
from gateway.ports import Loader

log = logging.getLogger(__name__)

NEGATIVE_S = 2.0
SLUG_S = 15.0
MAX_TENANTS = 20_000
MAX_SLUGS = 50_000
MAX_KEYS_AT_ONCE = 512

T = TypeVar("T")


class PolicyUnavailableError(UnavailableError):
    code = "access.policy_unavailable"
    default_message = "Access rules cannot be read right now, so nothing is allowed."


class EntryStore:
    def __init__(self, loader: Loader, executor: Executor, negative_entries: int = 4096) -> None:
        self._loader, self._executor = loader, executor
        self._negative_entries = negative_entries
        self._loop = asyncio.get_running_loop()
        self._tenants: dict[UUID, TenantEntry] = {}
        # Rights that ended, by organisation, and as of which revision: until an entry of that revision is held.
        self._ended: dict[UUID, dict[UUID, int]] = {}
        self._keys: dict[str, UUID] = {}
        self._servers: dict[UUID, ServerEntry] = {}
        self._slugs: dict[str, tuple[ServerEntry, ...]] = {}
        self._slug_until: dict[str, float] = {}
        self._unknown: dict[str, float] = {}
        self._loading: dict[str, asyncio.Task[Any]] = {}
        self._sought: set[str] = set()  # keys that are being looked up, and were not heard of since
        self._waiting: list[tuple[str, asyncio.Future[UUID | None]]] = []  # for the next question about keys
        self._asking: asyncio.Task[None] | None = None
        # In which headers requests name sessions of agents, at any server that is held.
        self.session_headers = frozenset({USUAL_HEADER})

    # What is held

    def find_tenant(self, key_id: str) -> TenantEntry | None:
        """The tenant of a key, when it is held and still has the key."""
        tenant_id = self._keys.get(key_id)
        return self._tenants.get(tenant_id) if tenant_id is not None else None

    def find_servers(self, slug: str) -> tuple[ServerEntry, ...] | None:
        """Every server of that name, or None when that is not known in memory."""
        servers = self._slugs.get(slug)
        if servers is not None and self._slug_until[slug] < self._loop.time():
            # Served once more while the question is asked again: another owner may have taken the same name.
            self._slug_until[slug] = self._loop.time() + SLUG_S
            self._single(f"slug:{slug}", lambda: self._load_slug(slug))
        return servers

    def is_unknown(self, name: str) -> bool:
        until = self._unknown.get(name)
        if until is None:
            return False
        if until < self._loop.time():
            self._unknown.pop(name, None)
            return False
        return True

    def held(self) -> tuple[list[UUID], list[UUID]]:
        return list(self._tenants), list(self._servers)

    def tenant_revision(self, tenant_id: UUID) -> int | None:
        entry = self._tenants.get(tenant_id)
        return entry.revision if entry is not None else None

    def server_revision(self, server_id: UUID) -> int | None:
        entry = self._servers.get(server_id)
        return entry.revision if entry is not None else None

    def holds(self, tenant_id: UUID | None = None, server_id: UUID | None = None) -> bool:
        return tenant_id in self._tenants or server_id in self._servers

    # What is asked for

    async def load_tenant(self, key_id: str) -> TenantEntry | None:
        name = f"key:{key_id}"
        if self.is_unknown(name):
            return None
        await self._ask(name, lambda: self._load_key(key_id))
        return self.find_tenant(key_id)

    async def load_servers(self, slug: str) -> tuple[ServerEntry, ...]:
        name = f"slug:{slug}"
        if self.is_unknown(name):
            return ()
        await self._ask(name, lambda: self._load_slug(slug))
        return self._slugs.get(slug, ())

    async def servers_by_id(self, server_ids: Collection[UUID]) -> list[ServerEntry]:
        """Those of the servers that exist, with one question for all that are not held."""
        missing = sorted(each for each in server_ids if each not in self._servers and not self.is_unknown(f"id:{each}"))
        if missing:
            await self._ask(f"ids:{missing}", lambda: self._load_ids(missing))
        return [self._servers[each] for each in server_ids if each in self._servers]

    async def reload_tenant(self, tenant_id: UUID) -> None:
        entry = await self.call(self._loader.tenant, tenant_id)
        if entry is None:
            self.drop_tenant(tenant_id)
        else:
            self.apply_tenant(entry)

    async def renew(self, tenant_id: UUID, credential_id: UUID) -> None:
        """Have a credential renewed and take the entry that holds it, once however many callers wait."""
        await self._ask(f"renew:{credential_id}", lambda: self._renew(tenant_id, credential_id))

    async def last_use(self, tenant_id: UUID, session_id: UUID) -> datetime | None:
        """When a session was last used, as the control plane knows. Raises PolicyUnavailableError."""
        try:
            return await self.call(self._loader.last_use, tenant_id, session_id)
        except Exception as exc:
            raise PolicyUnavailableError from exc

    async def reload_server(self, server_id: UUID) -> None:
        entry = await self.call(self._loader.server, server_id)
        if entry is None:
            self.drop_server(server_id)
        else:
            self.apply_server(entry)

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run one of the loader's functions in the gateway's threads."""
        return await self._loop.run_in_executor(self._executor, function, *args)

    # What arrives

    def apply_tenant(self, entry: TenantEntry) -> bool:
        """Take an entry unless a newer one is held. Keys that are gone from it are unknown from here on."""
        present = self._tenants.get(entry.tenant_id)
        if present is not None:
            if present.revision > entry.revision:
                return False
            entry = self._without_ended(entry)
            for key_id in present.keys:
                if key_id not in entry.keys:
                    self._keys.pop(key_id, None)
        elif len(self._tenants) >= MAX_TENANTS:
            self.drop_tenant(next(iter(self._tenants)))
        self._tenants[entry.tenant_id] = entry
        for key_id in entry.keys:
            self._keys[key_id] = entry.tenant_id
            self._unknown.pop(f"key:{key_id}", None)
        return True

    def end_rights(self, tenant_id: UUID, revision: int, ended: Collection[UUID]) -> None:
        """Take rights out of what is held, and out of entries that were compiled before this revision and come after."""
        entry = self._tenants.get(tenant_id)
        if entry is None or entry.revision >= revision:
            return
        self._ended.setdefault(tenant_id, {}).update(dict.fromkeys(ended, revision))
        self.apply_tenant(entry)

    def _without_ended(self, entry: TenantEntry) -> TenantEntry:
        ended = self._ended.pop(entry.tenant_id, {})
        later = {right: revision for right, revision in ended.items() if revision > entry.revision}
        if not later:
            return entry
        self._ended[entry.tenant_id] = later
        return endings.without(entry, later, clock.now())

    def apply_server(self, entry: ServerEntry) -> bool:
        """Take an entry unless a newer one is held; list it under its name when that name is held."""
        present = self._servers.get(entry.server_id)
        if present is not None:
            if present.revision > entry.revision:
                return False
            if present.slug != entry.slug:
                self._unlist(present)
        self._unknown.pop(f"slug:{entry.slug}", None)
        self._unknown.pop(f"id:{entry.server_id}", None)
        if present is None and entry.slug not in self._slugs:
            return False
        self._servers[entry.server_id] = entry
        self.session_headers |= {entry.policy.session.header.lower().encode("latin-1", "replace")}
        if (others := self._slugs.get(entry.slug)) is not None:
            self._slugs[entry.slug] = (*(s for s in others if s.server_id != entry.server_id), entry)
        return True

    def drop_tenant(self, tenant_id: UUID) -> None:
        self._ended.pop(tenant_id, None)
        entry = self._tenants.pop(tenant_id, None)
        for key_id in entry.keys if entry is not None else ():
            self._keys.pop(key_id, None)

    def drop_server(self, server_id: UUID) -> None:
        entry = self._servers.pop(server_id, None)
        if entry is not None:
            self._unlist(entry)

    def note_keys(self, key_ids: Iterable[str]) -> None:
        """These keys exist, as of a push: whatever was found or is being found out about them before is forgotten."""
        for key_id in key_ids:
            self._unknown.pop(f"key:{key_id}", None)
            self._sought.discard(key_id)

    # How questions are asked

    async def _ask(self, name: str, load: Callable[[], Awaitable[None]]) -> None:
        task = self._single(name, load)
        try:
            # Shielded: a caller that goes away must not fail the others who wait for the same answer.
            await asyncio.shield(task)
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            raise PolicyUnavailableError from exc

    def _single(self, name: str, load: Callable[[], Awaitable[None]]) -> asyncio.Task[Any]:
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = asyncio.ensure_future(load())  # type: ignore[arg-type]
            task.add_done_callback(lambda done: self._loaded(name, done))
        return task

    def _loaded(self, name: str, task: asyncio.Task[Any]) -> None:
        self._loading.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("entry not loaded: %s", type(error).__name__)

    async def _load_key(self, key_id: str) -> None:
        self._sought.add(key_id)
        try:
            tenant_id = await self._owner_of(key_id)
            if tenant_id is not None:
                await self._load_key_of(tenant_id, key_id)
            if key_id in self._sought and self.find_tenant(key_id) is None:
                self._note_unknown(f"key:{key_id}")
        finally:
            self._sought.discard(key_id)

    async def _owner_of(self, key_id: str) -> UUID | None:
        owner: asyncio.Future[UUID | None] = self._loop.create_future()
        self._waiting.append((key_id, owner))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_for_keys())
        return await owner

    async def _load_key_of(self, tenant_id: UUID, key_id: str) -> None:
        for _ in range(2):
            # An entry that others were waiting for already may be older than the key; the next one is not.
            await self._single(f"tenant:{tenant_id}", lambda: self.reload_tenant(tenant_id))
            if self.find_tenant(key_id) is not None:
                return

    async def _ask_for_keys(self) -> None:
        """Whose the waiting keys are: what comes while one question is under way waits for the next."""
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:MAX_KEYS_AT_ONCE], self._waiting[MAX_KEYS_AT_ONCE:]
                try:
                    found = await self.call(self._loader.tenants_of_keys, [key_id for key_id, _ in asked])
                except Exception as exc:  # noqa: BLE001 - told to everybody who waits
                    for _, owner in asked:
                        owner.set_exception(exc)
                else:
                    for key_id, owner in asked:
                        owner.set_result(found.get(key_id))
        finally:
            self._asking = None

    async def _renew(self, tenant_id: UUID, credential_id: UUID) -> None:
        await self.call(self._loader.renew_credential, tenant_id, credential_id)
        await self.reload_tenant(tenant_id)

    async def _load_slug(self, slug: str) -> None:
        entries = await self.call(self._loader.servers_by_slug, slug)
        if not entries:
            self._note_unknown(f"slug:{slug}")
            self._forget_slug(slug)
            return
        self._hold_slug(slug, entries)

    def _hold_slug(self, slug: str, entries: list[ServerEntry]) -> None:
        """Keep all servers of one name."""
        if len(self._slugs) >= MAX_SLUGS and slug not in self._slugs:
            self._forget_slug(next(iter(self._slugs)))
        self._slugs.setdefault(slug, ())
        self._slug_until[slug] = self._loop.time() + SLUG_S
        found = {entry.server_id for entry in entries}
        for entry in entries:
            self.apply_server(entry)
        for entry in self._slugs[slug]:
            if entry.server_id not in found:
                self.drop_server(entry.server_id)

    async def _load_ids(self, server_ids: list[UUID]) -> None:
        by_slug: dict[str, list[ServerEntry]] = {}
        for entry in await self.call(self._loader.servers_by_id, server_ids):
            by_slug.setdefault(entry.slug, []).append(entry)
        for slug, entries in by_slug.items():
            self._hold_slug(slug, entries)
        for server_id in server_ids:
            if server_id not in self._servers:
                self._note_unknown(f"id:{server_id}")

    def _forget_slug(self, slug: str) -> None:
        for entry in self._slugs.pop(slug, ()):
            self._servers.pop(entry.server_id, None)
        self._slug_until.pop(slug, None)

    def _unlist(self, entry: ServerEntry) -> None:
        if (others := self._slugs.get(entry.slug)) is not None:
            self._slugs[entry.slug] = tuple(s for s in others if s.server_id != entry.server_id)

    def _note_unknown(self, name: str) -> None:
        while len(self._unknown) >= self._negative_entries:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[name] = self._loop.time() + NEGATIVE_S
