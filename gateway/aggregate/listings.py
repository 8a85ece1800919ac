"""Closed: what a server lists, asked on behalf of one caller and kept for that caller for a short time.

Asking fifty servers for every list would be slow and rude, so a list is kept for `FRESH_S`, or as long as the server itself says.
One that the server calls public serves every caller; any other only the key that it was asked for. A server that does not answer
costs its own part: an older list stands in for it, or nothing does, and the answer says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from gateway.aggregate import search
from gateway.aggregate.subcalls import SubCalls
from gateway.context import CallContext, Caller
from gateway.entries import ServerEntry
from gateway.mcp import lossless, versions
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import Message, Shape
from gateway.peers import Ask, Json, Peer
from gateway.pins import Pins
from gateway.stages.authorise import authorise

log = logging.getLogger(__name__)

# The member of the result that holds the items of each list.
MEMBERS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}
FRESH_S = 30.0
LONGEST_S = 3600.0
FAILED_S = 5.0  # a server that did not answer is not asked again for so long
STALE_S = 600.0  # how old a list may be that stands in for a server which does not answer
PATIENCE_S = 5.0
AT_ONCE = 16
MAX_PAGES = 50
MAX_ITEMS = 5000
MAX_LISTING_BYTES = 16 * 1024 * 1024
MAX_BYTES = 64 * 1024 * 1024
MAX_KEPT = 8192

Key = tuple[Any, ...]


@dataclass(slots=True)
class Listing:
    """What one server listed. Items keep every member that the server gave them."""

    server: ServerEntry
    items: tuple[Json, ...] = ()
    sizes: tuple[int, ...] = ()  # bytes of each item as JSON
    result: Json = field(default_factory=dict)  # of `server/discover`, which has no items
    failed: str = ""  # why there is no current answer; empty when there is
    unsupported: bool = False  # the server has no such method
    shared: bool = False  # the server says that everybody may see it
    asked_at: float = 0.0
    fresh_until: float = 0.0
    documents: tuple[search.Document, ...] | None = None

    @property
    def size(self) -> int:
        return sum(self.sizes) + 512


class Gates:
    """So many questions at once for each organisation: the slow servers of one cost the lists of another nothing."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._gates: dict[UUID, tuple[asyncio.Semaphore, list[None]]] = {}

    def __len__(self) -> int:
        return len(self._gates)

    @contextlib.asynccontextmanager
    async def of(self, tenant_id: UUID) -> AsyncIterator[None]:
        """Wait for one of the organisation's places, and hold it."""
        gate, users = self._gates.setdefault(tenant_id, (asyncio.Semaphore(self._at_once), []))
        users.append(None)
        try:
            async with gate:
                yield
        finally:
            users.pop()
            if not users:
                del self._gates[tenant_id]


class Listings:
    def __init__(self, peer: Peer, opened: SubCalls, pins: Pins) -> None:
        self._peer, self._opened, self._pins = peer, opened, pins
        self._loop = asyncio.get_running_loop()
        self._kept: dict[Key, Listing] = {}
        self._bytes = 0
        self._asking: dict[Key, asyncio.Task[Listing]] = {}
        self._gates = Gates(AT_ONCE)

    async def all(self, call: CallContext, servers: Sequence[ServerEntry], method: str, meta: Json) -> list[Listing]:
        """What each server lists, in the order of the servers."""
        return list(await asyncio.gather(*(self.one(call, server, method, meta) for server in servers)))

    async def one(self, call: CallContext, server: ServerEntry, method: str, meta: Json) -> Listing:
        """What one server lists to this caller."""
        assert call.caller is not None
        key = _key(call.caller, server, method, meta)
        shared = (None, *key[1:])
        for each in (key, shared):
            held = self._kept.get(each)
            if held is not None and self._loop.time() < held.fresh_until:
                # The entry may have been replaced since, by one that closes a tool.
                held.server = server
                return held
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(call.caller, server, method, meta))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Shielded: whoever leaves must not fail the others who wait for the same list.
        listing = await asyncio.shield(task)
        if listing.failed:
            listing = self._stand_in(key, shared, listing)
        self._keep(shared if listing.shared else key, listing)
        return listing

    def forget(self, server_id: UUID) -> None:
        """The server said that its lists changed."""
        for key in [key for key in self._kept if key[1] == server_id]:
            self._drop(key)

    async def _ask(self, caller: Caller, server: ServerEntry, method: str, meta: Json) -> Listing:
        listing = Listing(server)
        call = self._opened.open(caller, server)
        async with self._gates.of(caller.tenant.tenant_id):
            try:
                with call.watched:
                    call.watched.phase(PATIENCE_S, total=PATIENCE_S)
                    authorise(call, caller, server, method, "")
                    await self._opened.ready(call)
                    await self._pages(call, listing, method, meta)
            except Exception as exc:  # noqa: BLE001 - whatever is wrong with one server must not cost the others
                listing.failed = exc.kind.message if isinstance(exc, RefusedError) else "The server did not answer."
                log.info("a server was left out of a list", extra={"server": server.slug, "why": type(exc).__name__})
        listing.asked_at = now = self._loop.time()
        listing.fresh_until = now + (FAILED_S if listing.failed else max(FRESH_S, _ttl(listing.result)))
        return listing

    async def _pages(self, call: CallContext, listing: Listing, method: str, meta: Json) -> None:
        member = MEMBERS.get(method)
        items: list[Json] = []
        sizes: list[int] = []
        cursor: Any = None
        scopes: set[str] = set()
        for _ in range(MAX_PAGES):
            params: Json = {"_meta": meta} if cursor is None else {"_meta": meta, "cursor": cursor}
            call.message = Message(Shape.REQUEST, "list", method, params, None)
            answer = await self._answer(call, Ask("list", method, params))
            if "error" in answer:
                listing.unsupported = True
                return
            listing.result = result = answer["result"]
            scopes.add(str(result.get("cacheScope")))
            found = _items_of(result, member)
            items += found
            sizes += [len(lossless.dumps(item)) for item in found]
            before, cursor = cursor, result.get("nextCursor")
            if (
                not isinstance(cursor, str)
                or cursor == before
                or len(items) >= MAX_ITEMS
                or sum(sizes) >= MAX_LISTING_BYTES
            ):
                break
        fits = sum(total <= MAX_LISTING_BYTES for total in itertools.accumulate(sizes[:MAX_ITEMS]))
        listing.items, listing.sizes = tuple(items[:fits]), tuple(sizes[:fits])
        if member is not None:
            # The items are kept by themselves; what is left of the result is small.
            listing.result = {key: listing.result[key] for key in ("ttlMs", "cacheScope") if key in listing.result}
        if method == "tools/list":
            listing.server = self._pins.examine(listing.server, listing.items)
        listing.shared = scopes == {"public"} and _ttl(listing.result) > 0

    async def _answer(self, call: CallContext, request: Ask) -> Json:
        async with contextlib.aclosing(self._peer.ask(call, request)) as messages:
            async for message in messages:
                if "method" in message:
                    continue
                if "error" in message or isinstance(message.get("result"), dict):
                    return message
        raise RefusedError("upstream.failed", detail="no answer")

    def _stand_in(self, key: Key, shared: Key, failed: Listing) -> Listing:
        old = self._kept.get(key) or self._kept.get(shared)
        if old is None or failed.asked_at - old.asked_at > STALE_S or (old.failed and not old.items):
            return failed
        # The older list stays what it is, but for being asked for again soon.
        old.fresh_until, old.failed = failed.fresh_until, failed.failed
        return old

    def _keep(self, key: Key, listing: Listing) -> None:
        if self._kept.get(key) is listing:
            return
        self._drop(key)
        self._kept[key] = listing
        self._bytes += listing.size
        while self._kept and (self._bytes > MAX_BYTES or len(self._kept) > MAX_KEPT):
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._bytes -= gone.size


# What an item is known by, and what is therefore text.
_NAMED_BY = {
    "tools": "name",
    "prompts": "name",
    "resources": "uri",
    "resourceTemplates": "uriTemplate",
}


def _items_of(result: Json, member: str | None) -> list[Json]:
    """The items of a page that are what they must be at least."""
    items = result.get(member) if member is not None else None
    if member is None or not isinstance(items, list):
        return []
    return [item for item in items if isinstance(item, dict) and isinstance(item.get(_NAMED_BY[member]), str)]


async def documents_of(listing: Listing) -> tuple[search.Document, ...]:
    """The tools of a listing as the search sees them, made once, and in pieces so that other calls go on meanwhile."""
    if listing.documents is None:
        slug, documents = listing.server.slug, []
        for number, item in enumerate(listing.items):
            if not number % search.AT_ONCE:
                await asyncio.sleep(0)
            documents.append(search.document(slug, item))
        listing.documents = tuple(documents)
    return listing.documents


def _key(caller: Caller, server: ServerEntry, method: str, meta: Json) -> Key:
    # A list may depend on what the client can do, and on nothing else that it says of itself.
    capabilities = lossless.dumps(meta.get(versions.META_CAPABILITIES, {}))
    owner = (caller.tenant.tenant_id, f"{caller.key.key_id}{caller.on_behalf}", caller.around)
    # Its digest, because what a client says of itself may be long.
    return owner, server.server_id, server.revision, method, hashlib.sha256(capabilities).digest()


def _ttl(result: Json) -> float:
    """Seconds for which the server offers its result."""
    ttl = result.get("ttlMs")
    return min(ttl / 1000, LONGEST_S) if isinstance(ttl, int) and not isinstance(ttl, bool) and ttl > 0 else 0.0
