"""Closed: a name that the caller may not see is answered like a name that does not exist."""

from __future__ import annotations

import re
from uuid import UUID

from gateway.context import CallContext, Caller
from gateway.entries import ServerEntry
from gateway.mcp.errors import RefusedError
from gateway.store import EntryStore

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?\Z")


async def resolve(call: CallContext, caller: Caller, store: EntryStore) -> ServerEntry:
    """The server that the path names for this caller. Raises RefusedError, or PolicyUnavailableError."""
    if not _SLUG.match(call.slug):
        raise RefusedError("access.server_unknown")
    servers = store.find_servers(call.slug)
    if servers is None:
        servers = await store.load_servers(call.slug)
    server = choose(servers, caller)
    if server is not None and server.prices_until is not None and server.prices_until <= call.occurred_at:
        server = choose(await store.load_servers(call.slug), caller)
    if server is None:
        raise RefusedError("access.server_unknown")
    call.server, call.url = server, server.url
    if caller.key.server_ids and server.server_id not in caller.key.server_ids:
        raise RefusedError("access.server_not_in_key")
    if not server.callable:
        raise RefusedError("access.server_not_ready")
    return server


def choose(servers: tuple[ServerEntry, ...], caller: Caller) -> ServerEntry | None:
    """The organisation's own server of that name before a public one of somebody else."""
    tenant_id, team_id = caller.tenant.tenant_id, caller.key.team_id
    public = None
    for server in servers:
        if server.owner_tenant_id == tenant_id:
            if _shown_to_team(server, team_id):
                return server
        elif server.visibility == "public" and (public is None or (server.callable and not public.callable)):
            public = server
    return public


def _shown_to_team(server: ServerEntry, team_id: UUID | None) -> bool:
    """Whether a key of this team of the owner may know of the server."""
    if server.visibility == "group":
        return team_id in server.allowed_teams
    return server.visibility in {"org", "public"} or server.owner_team_id in {None, team_id}
