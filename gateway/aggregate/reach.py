"""Closed: of the servers that exist, those that a caller may use: a live grant, or an own server that only observes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway.context import Caller
from gateway.entries import ServerEntry
from gateway.stages.authorise import decision_for
from gateway.stages.resolve import choose
from gateway.store import EntryStore

# More servers than this at one endpoint help no agent; the rest stay reachable at their own.
MAX_SERVERS = 200


async def servers_of(caller: Caller, store: EntryStore, now: datetime) -> Sequence[ServerEntry]:
    """In the order of their names. Raises PolicyUnavailableError when an entry cannot be read."""
    wanted = {*caller.tenant.grants, *caller.tenant.observed}
    if caller.key.server_ids:
        wanted &= caller.key.server_ids
    if "invoke" not in caller.key.scopes or not wanted:
        return ()
    found = [
        server
        for server in await store.servers_by_id(wanted)
        if server.callable and is_usable(caller, server, store, now)
    ]
    return sorted(found, key=lambda server: server.slug)[:MAX_SERVERS]


def is_usable(caller: Caller, server: ServerEntry, store: EntryStore, now: datetime) -> bool:
    """Whether the caller may see and list the server, and its name leads to it and to no other."""
    if choose(store.find_servers(server.slug) or (), caller) is not server:
        return False
    return decision_for(caller, server, "tools/list", "", now).allowed
