"""Closed: one subscription at the endpoint is one at each server that the caller may use, and says only what was asked for.

A server that cannot be listened to, or that stops, costs its own news. That the caller's own access changed is news as well: the
lists here change with it. A revoked key ends the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from catalog import names
from gateway.aggregate import reach, results
from gateway.aggregate.listings import Listings
from gateway.aggregate.subcalls import SubCalls
from gateway.context import CallContext, Caller
from gateway.entries import ServerEntry
from gateway.mcp.messages import Message, Shape
from gateway.peers import Ask, Json, Peer
from gateway.stages.authorise import authorise
from gateway.store import EntryStore

META_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_KINDS = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
_UPDATED = "notifications/resources/updated"
_LOOK_S = 1.0
_QUEUE = 256
# A subscription holds one connection to each server it listens to.
MAX_LISTENED = 50
MAX_AGE_S = 900.0


class Listening:
    def __init__(self, store: EntryStore, listings: Listings, peer: Peer, opened: SubCalls) -> None:
        self._store, self._listings, self._peer, self._opened = store, listings, peer, opened

    async def listen(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        assert call.caller is not None
        wanted = _wanted(request.params.get("notifications"))
        yield _notification(ACKNOWLEDGED, {"notifications": wanted}, request.request_id)
        queue: asyncio.Queue[Json | None] = asyncio.Queue(_QUEUE)
        meta = request.params.get("_meta", {})
        servers = await reach.servers_of(call.caller, self._store, call.occurred_at)
        tasks = [asyncio.create_task(self._look(call, wanted, queue))]
        tasks += [
            asyncio.create_task(self._pump(call.caller, server, {"notifications": part, "_meta": meta}, queue))
            for server in servers[:MAX_LISTENED]
            if (part := _part(wanted, server.slug)) is not None
        ]
        try:
            while (message := await queue.get()) is not None:
                yield _tagged(message, request.request_id)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, call: CallContext, wanted: Json, queue: asyncio.Queue[Json | None]) -> None:
        """Tell when what the caller may use changed, and end when it is no caller any more."""
        assert call.caller is not None
        key_id, seen = call.caller.key.key_id, call.caller.tenant
        while True:
            await asyncio.sleep(_LOOK_S)
            tenant = self._store.find_tenant(key_id)
            if tenant is None or tenant.suspended:
                await queue.put(None)
                return
            if tenant is not seen:
                seen = tenant
                for kind, method in _KINDS.items():
                    if wanted.get(kind):
                        await queue.put(_notification(method, {}))

    async def _pump(self, caller: Caller, server: ServerEntry, params: Json, queue: asyncio.Queue[Json | None]) -> None:
        call = self._opened.open(caller, server)
        call.message = Message(Shape.REQUEST, "listen", "subscriptions/listen", params, None)
        # Whatever ends it, the other servers are still heard.
        with contextlib.suppress(Exception), call.watched:
            call.watched.phase(MAX_AGE_S, total=MAX_AGE_S)
            authorise(call, caller, server, "subscriptions/listen", "")
            self._opened.review.keep_looking(call, "subscriptions/listen")
            await self._opened.ready(call)
            async with contextlib.aclosing(self._peer.ask(call, Ask("listen", "subscriptions/listen", params))) as news:
                async for message in news:
                    if message.get("method") in {*_KINDS.values(), _UPDATED}:
                        self._listings.forget(server.server_id)
                        await queue.put(results.of_server(server.slug, "", message))


def _wanted(asked: Any) -> Json:
    """The part of the filter that is honoured."""
    if not isinstance(asked, dict):
        return {}
    wanted: Json = {kind: True for kind in _KINDS if asked.get(kind) is True}
    uris = asked.get("resourceSubscriptions")
    if isinstance(uris, list) and (known := [uri for uri in uris if isinstance(uri, str) and names.split_uri(uri)]):
        wanted["resourceSubscriptions"] = known
    return wanted


def _part(wanted: Json, slug: str) -> Json | None:
    """What one server is asked to tell; None when nothing of it is wanted."""
    part: Json = {kind: True for kind in _KINDS if wanted.get(kind)}
    found = [names.split_uri(uri) for uri in wanted.get("resourceSubscriptions", ())]
    if uris := [each[1] for each in found if each is not None and each[0] == slug]:
        part["resourceSubscriptions"] = uris
    return part or None


def _notification(method: str, params: Json, subscription: Any = None) -> Json:
    message: Json = {"jsonrpc": "2.0", "method": method, "params": params}
    return message if subscription is None else _tagged(message, subscription)


def _tagged(message: Json, subscription: Any) -> Json:
    params = message.get("params") or {}
    meta = params.get("_meta") or {}
    return {**message, "params": {**params, "_meta": {**meta, META_SUBSCRIPTION: subscription}}}
