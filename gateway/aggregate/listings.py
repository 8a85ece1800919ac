"""Closed: what a server lists, asked on behalf of one caller and kept for that caller for a short time.

Asking fifty servers for every list would be slow and rude, so a list is kept for `FRESH_S`, or as long as the server itself says.
One that the server calls public serves every caller; any other only the key that it was asked for. A server that does not answer
costs its own part: an older list stands in for it, or nothing does, and the answer says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
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


class Listings:
    def __init__(self, peer: Peer, opened: SubCalls, pins: Pins) -> None:
        self._peer, self._opened, self._pins = peer, opened, pins
        self._loop = asyncio.get_running_loop()
        self._kept: dict[Key, Listing] = {}
        self._bytes = 0
        self._asking: dict[Key, asyncio.Task[Listing]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

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
        async with self._gate:
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
        cursor, scopes = None, set()
        for _ in range(MAX_PAGES):
            params: Json = {"_meta": meta} if cursor is None else {"_meta": meta, "cursor": cursor}
            call.message = Message(Shape.REQUEST, "list", method, params, None)
            answer = await self._answer(call, Ask("list", method, params))
            if "error" in answer:
                listing.unsupported = True
                return
            listing.result = result = answer["result"]
            scopes.add(result.get("cacheScope"))
            items += [item for item in result.get(member, ()) if isinstance(item, dict)] if member else []
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or len(items) >= MAX_ITEMS:
                break
        listing.items = tuple(items[:MAX_ITEMS])
        if method == "tools/list":
            listing.server = self._pins.examine(listing.server, listing.items)
        listing.sizes = tuple(len(lossless.dumps(item)) for item in listing.items)
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


def documents_of(listing: Listing) -> tuple[search.Document, ...]:
    """The tools of a listing as the search sees them, made once."""
    if listing.documents is None:
        listing.documents = tuple(search.document(listing.server.slug, item) for item in listing.items)
    return listing.documents


def _key(caller: Caller, server: ServerEntry, method: str, meta: Json) -> Key:
    # A list may depend on what the client can do, and on nothing else that it says of itself.
    capabilities = lossless.dumps(meta.get(versions.META_CAPABILITIES, {}))
    owner = (caller.tenant.tenant_id, caller.key.key_id)
    return owner, server.server_id, server.revision, method, capabilities


def _ttl(result: Json) -> float:
    """Seconds for which the server offers its result."""
    ttl = result.get("ttlMs")
    return min(ttl / 1000, LONGEST_S) if isinstance(ttl, int) and not isinstance(ttl, bool) and ttl > 0 else 0.0
