"""Keys that nobody holds: what looking them up costs, and that one which was just created is never taken for a guess."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from gateway.entries import TenantEntry
from gateway.store import EntryStore
from tests.support.gateways import MemoryLoader, World


@pytest.fixture(autouse=True)
def _long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, nothing is forgotten by itself."""
    monkeypatch.setattr("gateway.store.NEGATIVE_S", 3600.0)


class SlowLoader(MemoryLoader):
    """Questions about keys wait at `gate`, those about organisations at `door`, with what they found."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.door = threading.Event(), threading.Event()
        self.gate.set()
        self.door.set()

    def tenants_of_keys(self, key_ids: Collection[str]) -> dict[str, UUID]:
        found = super().tenants_of_keys(key_ids)
        self.gate.wait(10)
        return found

    def tenant(self, tenant_id: UUID) -> TenantEntry | None:
        found = super().tenant(tenant_id)
        self.door.wait(10)
        return found

    def about_keys(self) -> list[int]:
        """How many keys each question named."""
        return [len(question.split()) - 1 for question in self.questions if question.startswith("keys")]


def run(act: Callable[[EntryStore, World, SlowLoader], Awaitable[Any]], **options: Any) -> Any:
    world, loader = World(), SlowLoader()
    world.loader = loader

    async def main() -> Any:
        with ThreadPoolExecutor(4) as executor:
            try:
                return await act(EntryStore(loader, executor, **options), world, loader)
            finally:
                loader.gate.set()
                loader.door.set()

    return asyncio.run(main())


async def asked(loader: SlowLoader, questions: int) -> None:
    while len(loader.questions) < questions:
        await asyncio.sleep(0.001)


def test_keys_that_are_guessed_at_once_are_looked_up_together() -> None:
    async def act(store: EntryStore, world: World, loader: SlowLoader) -> None:
        loader.gate.clear()
        first = asyncio.create_task(store.load_tenant("guess-0"))
        await asked(loader, 1)
        others = [asyncio.create_task(store.load_tenant(f"guess-{number}")) for number in range(1, 300)]
        await asyncio.sleep(0)
        loader.gate.set()
        assert set(await asyncio.gather(first, *others)) == {None}
        assert loader.about_keys() == [1, 299]
        assert await store.load_tenant("guess-7") is None
        assert loader.about_keys() == [1, 299]

    run(act)


def test_a_real_key_among_guesses_is_found() -> None:
    async def act(store: EntryStore, world: World, loader: SlowLoader) -> None:
        acme = world.tenant("acme")
        keys = [world.key(acme)[1].key_id for _ in range(3)]
        found = await asyncio.gather(*(store.load_tenant(key_id) for key_id in ("guess-1", *keys, "guess-2")))
        assert [entry.slug if entry else None for entry in found] == [None, "acme", "acme", "acme", None]
        assert loader.questions.count("tenant") == 1

    run(act)


def test_how_many_guesses_are_remembered_is_bounded() -> None:
    async def act(store: EntryStore, world: World, loader: SlowLoader) -> None:
        for number in range(5):
            await store.load_tenant(f"guess-{number}")
        remembered = [store.is_unknown(f"key:guess-{number}") for number in range(5)]
        assert remembered == [False, False, True, True, True]

    run(act, negative_entries=3)


def test_a_key_that_was_asked_for_before_it_existed_is_known_once_it_is_pushed() -> None:
    async def act(store: EntryStore, world: World, loader: SlowLoader) -> None:
        acme = world.tenant("acme")
        _, key = world.key(acme)
        entry = loader.tenants.pop(acme.tenant_id)
        assert await store.load_tenant(key.key_id) is None
        loader.tenants[acme.tenant_id] = entry
        assert await store.load_tenant(key.key_id) is None
        store.note_keys(entry.keys)
        assert await store.load_tenant(key.key_id) == entry

    run(act)


def test_a_key_that_is_created_while_it_is_looked_up_is_known_afterwards() -> None:
    async def act(store: EntryStore, world: World, loader: SlowLoader) -> None:
        acme = world.tenant("acme")
        _, key = world.key(acme)
        entry = loader.tenants.pop(acme.tenant_id)
        loader.gate.clear()
        early = asyncio.create_task(store.load_tenant(key.key_id))
        await asked(loader, 1)
        loader.tenants[acme.tenant_id] = entry
        store.note_keys(entry.keys)
        loader.gate.set()
        assert await early is None
        assert await store.load_tenant(key.key_id) == entry

    run(act)


def test_a_key_that_is_newer_than_what_others_wait_for_is_found() -> None:
    async def act(store: EntryStore, world: World, loader: SlowLoader) -> None:
        acme = world.tenant("acme")
        _, old = world.key(acme)
        loader.door.clear()
        first = asyncio.create_task(store.load_tenant(old.key_id))
        await asked(loader, 2)  # the organisation is read, without the key that comes next
        _, new = world.key(acme)
        second = asyncio.create_task(store.load_tenant(new.key_id))
        await asked(loader, 3)
        await asyncio.sleep(0.05)  # long enough to wait for the same answer as the first
        loader.door.set()
        assert await first is not None
        found = await second
        assert found is not None
        assert new.key_id in found.keys

    run(act)


def test_rights_that_ended_stay_so_until_an_entry_of_that_time_comes() -> None:
    async def act(store: EntryStore, world: World, loader: SlowLoader) -> None:
        acme = world.tenant("acme")
        _, key = world.key(acme)
        _, lost = world.key(acme)
        server = world.server("payments", "http://127.0.0.1:9/mcp", acme)
        grant, kept = world.grant(acme, server, key), world.grant(acme, server, key)
        await store.load_tenant(key.key_id)
        before = loader.tenants[acme.tenant_id]

        def ended() -> dict[UUID, bool]:
            held = store.find_tenant(key.key_id)
            assert held is not None
            return {rule.grant_id: rule.revoked_at is not None for rule in held.grants[server.server_id]}

        store.end_rights(acme.tenant_id, before.revision + 2, [grant.grant_id, lost.api_key_id])
        assert ended() == {grant.grant_id: True, kept.grant_id: False}
        assert store.find_tenant(lost.key_id) is None

        # Compiled before the end, arrived after it.
        store.apply_tenant(replace(before, revision=before.revision + 1))
        assert ended() == {grant.grant_id: True, kept.grant_id: False}
        assert store.find_tenant(lost.key_id) is None

        # Of the end's own revision or later: what it says counts, for a right may be given back.
        store.apply_tenant(replace(before, revision=before.revision + 2))
        assert ended() == {grant.grant_id: False, kept.grant_id: False}
        store.end_rights(acme.tenant_id, before.revision + 1, [grant.grant_id])
        assert ended() == {grant.grant_id: False, kept.grant_id: False}

    run(act)


def test_ends_in_an_organisation_that_is_not_held_are_nothing() -> None:
    async def act(store: EntryStore, world: World, loader: SlowLoader) -> None:
        acme = world.tenant("acme")
        _, key = world.key(acme)
        store.end_rights(acme.tenant_id, 99, [key.api_key_id])
        assert await store.load_tenant(key.key_id) is not None

    run(act)
