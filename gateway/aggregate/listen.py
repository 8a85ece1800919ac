"""Closed: one subscription at the endpoint is one at each server that the caller may use, and says only what was asked for.

Of single resources and of tasks only those are heard that the caller may read and ask about; the acknowledgement names them. A
server that cannot be listened to, or that stops, costs its own news. That the caller's own access changed is news as well: the
lists here change with it. A revoked key ends the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any

from catalog import names
from gateway.aggregate import reach, results
from gateway.aggregate.listings import Listings
from gateway.aggregate.subcalls import SubCalls
from gateway.context import CallContext, Caller
from gateway.entries import ServerEntry
from gateway.mcp import lossless
from gateway.mcp.messages import Message, Shape
from gateway.mcp.tasks import NOTIFICATIONS, Task
from gateway.peers import Ask, Json, Peer
from gateway.stages.authorise import authorise, decision_for
from gateway.stages.tasks import LISTEN, MAX_TASKS, Tasks
from gateway.store import EntryStore

META_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_KINDS = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
_UPDATED = "notifications/resources/updated"
_HEARD = frozenset({*_KINDS.values(), _UPDATED, *NOTIFICATIONS})
_LOOK_S = 1.0
_QUEUE = 256
# A subscription holds one connection to each server it listens to.
MAX_LISTENED = 50
MAX_AGE_S = 900.0


class Listening:
    def __init__(self, store: EntryStore, listings: Listings, peer: Peer, opened: SubCalls, tasks: Tasks) -> None:
        self._store, self._listings, self._peer, self._opened, self._tasks = store, listings, peer, opened, tasks

    async def listen(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        assert call.caller is not None
        servers = (await reach.servers_of(call.caller, self._store, call.occurred_at))[:MAX_LISTENED]
        wanted = self._honoured(call.caller, servers, request.params.get("notifications"), call.occurred_at)
        yield _notification(ACKNOWLEDGED, {"notifications": wanted}, request.request_id)
        queue: asyncio.Queue[Json | None] = asyncio.Queue(_QUEUE)
        meta = request.params.get("_meta", {})
        tasks = [asyncio.create_task(self._look(call, wanted, queue))]
        tasks += [
            asyncio.create_task(self._pump(call.caller, server, {"notifications": part, "_meta": meta}, queue))
            for server in servers
            if (part := self._part(call.caller, wanted, server.slug)) is not None
        ]
        try:
            while (message := await queue.get()) is not None:
                yield _tagged(message, request.request_id)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _honoured(self, caller: Caller, servers: Sequence[ServerEntry], asked: Any, now: datetime) -> Json:
        """The part of the filter that is honoured."""
        if not isinstance(asked, dict):
            return {}
        by_slug = {server.slug: server for server in servers}
        wanted: Json = {kind: True for kind in _KINDS if asked.get(kind) is True}

        def may_read(uri: str) -> bool:
            found = names.split_uri(uri)
            server = by_slug.get(found[0]) if found is not None else None
            return server is not None and decision_for(caller, server, "resources/subscribe", "", now).allowed

        def may_ask(task: Task | None) -> bool:
            server = by_slug.get(task.slug) if task is not None else None
            return (
                server is not None
                and task is not None
                and task.modern
                and self._tasks.may_hear(caller, server, task, now)
            )

        if uris := [uri for uri in _texts(asked.get("resourceSubscriptions")) if may_read(uri)]:
            wanted["resourceSubscriptions"] = uris
        if ids := [
            each for each in _texts(asked.get("taskIds"))[:MAX_TASKS] if may_ask(self._tasks.find(caller, each))
        ]:
            wanted["taskIds"] = ids
        return wanted

    def _part(self, caller: Caller, wanted: Json, slug: str) -> Json | None:
        """What one server is asked to tell; None when nothing of it is wanted."""
        part: Json = {kind: True for kind in _KINDS if wanted.get(kind)}
        found = [names.split_uri(uri) for uri in wanted.get("resourceSubscriptions", ())]
        if uris := [each[1] for each in found if each is not None and each[0] == slug]:
            part["resourceSubscriptions"] = uris
        tasks = [self._tasks.find(caller, sealed) for sealed in wanted.get("taskIds", ())]
        if ids := [task.sealed for task in tasks if task is not None and task.slug == slug]:
            part["taskIds"] = ids
        return part or None

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
        message = call.message = Message(Shape.REQUEST, "listen", LISTEN, params, None)
        # Whatever ends it, the other servers are still heard.
        with contextlib.suppress(Exception), call.watched:
            call.watched.phase(MAX_AGE_S, total=MAX_AGE_S)
            authorise(call, caller, server, message.right, "")
            self._opened.review.keep_looking(call, message.right)
            self._tasks.listen(call, caller, server)
            await self._opened.ready(call)
            async with contextlib.aclosing(self._peer.ask(call, Ask("listen", LISTEN, message.params))) as news:
                async for each in news:
                    if each.get("method") in _HEARD and (known := self._as_known(call, each)) is not None:
                        if each["method"] not in NOTIFICATIONS:
                            self._listings.forget(server.server_id)
                        await queue.put(results.of_server(server.slug, "", known))

    def _as_known(self, call: CallContext, message: Json) -> Json | None:
        """News under the ids of tasks that the client knows; None for news of others, and for results that cost."""
        if message["method"] not in NOTIFICATIONS:
            return message
        data = self._tasks.note_text(call, message, lossless.dumps(message))
        return None if data is None else lossless.loads(data)


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _notification(method: str, params: Json, subscription: Any = None) -> Json:
    message: Json = {"jsonrpc": "2.0", "method": method, "params": params}
    return message if subscription is None else _tagged(message, subscription)


def _tagged(message: Json, subscription: Any) -> Json:
    params = message.get("params") or {}
    meta = params.get("_meta") or {}
    return {**message, "params": {**params, "_meta": {**meta, META_SUBSCRIPTION: subscription}}}
