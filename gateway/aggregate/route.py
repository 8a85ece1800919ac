"""Closed: a request that names something of a server becomes that server's request; a name of nobody is refused.

Name and URI are replaced in the parameters, and nothing else. A retry with `inputResponses` comes back under the same name, so it
reaches the same server with the same name there, and what the server bound to the first round still holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from catalog import names
from gateway.aggregate import metatools, reach
from gateway.aggregate.listings import MEMBERS, Listings
from gateway.context import CallContext
from gateway.mcp import lossless, versions
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import Message
from gateway.peers import Json
from gateway.stages.tasks import Tasks
from gateway.store import EntryStore

_MAX_NAME = 256
_META_KEYS = (versions.META_VERSION, versions.META_CAPABILITIES, versions.META_CLIENT)
Found = tuple[str, str]
Admit = Callable[[CallContext], Awaitable[None]]


class Router:
    def __init__(self, store: EntryStore, listings: Listings, admit: Admit, tasks: Tasks) -> None:
        self._store, self._listings, self._admit, self._tasks = store, listings, admit, tasks

    async def route(self, call: CallContext) -> bool:
        """Make the call one of the server that it names; false when it is for the endpoint itself. Raises RefusedError."""
        message = call.message
        assert message is not None
        if message.defect is not None:
            return False
        params = lossless.loads(call.body)["params"] if lossless.needs_care(call.body) else message.params
        match message.method:
            case "tools/call":
                if message.name in {metatools.SEARCH, metatools.DESCRIBE}:
                    return False
                if message.name == metatools.CALL:
                    params = _inner(params)
                slug, name = await self._tool(call, params["name"])
                params = {**params, "name": name}
            case "prompts/get":
                slug, name = await self._prompt(call, params["name"])
                params = {**params, "name": name}
            case "resources/read":
                slug, uri = await self._resource(call, params["uri"])
                params = {**params, "uri": uri}
            case "completion/complete":
                slug, ref = await self._reference(call, params.get("ref"))
                params = {**params, "ref": ref}
            case "tasks/get" | "tasks/update" | "tasks/cancel":
                slug = self._task(call, params["taskId"])
            case _:
                return False
        call.slug = slug
        # What was read is what is asked from here on; the client's bytes, with the other name, are not.
        call.message, call.body = Message(message.shape, message.request_id, message.method, params, None), b""
        return True

    def _task(self, call: CallContext, sealed: str) -> str:
        """The server of a task. Its id stays as it is: it is good at that server as it is here."""
        assert call.caller is not None
        task = self._tasks.find(call.caller, sealed)
        if task is None:
            raise RefusedError("gateway.task_unknown")
        return task.slug

    async def _tool(self, call: CallContext, exposed: str) -> Found:
        if (found := names.split(exposed)) is not None:
            return found
        assert call.caller is not None
        if names.is_marked(exposed):
            for server in await reach.servers_of(call.caller, self._store, call.occurred_at):
                for name in server.policy.tools:
                    if names.expose(server.slug, name) == exposed:
                        return server.slug, name
        raise RefusedError("gateway.name_unknown", f"There is no tool named {exposed[:_MAX_NAME]!r} here.")

    async def _prompt(self, call: CallContext, exposed: str) -> Found:
        if (found := names.split(exposed)) is not None:
            return found
        if names.is_marked(exposed):
            for slug, name in await self._listed(call, "prompts/list", "name"):
                if names.expose(slug, name) == exposed:
                    return slug, name
        raise RefusedError("gateway.name_unknown", f"There is no prompt named {exposed[:_MAX_NAME]!r} here.")

    async def _resource(self, call: CallContext, exposed: str) -> Found:
        if (found := names.split_uri(exposed)) is not None:
            return found
        # A URI that a server put where nobody looks for one, such as `_meta` of a tool, has no server in front.
        owners = [found for found in await self._listed(call, "resources/list", "uri") if found[1] == exposed]
        if len({slug for slug, _ in owners}) == 1:
            return owners[0]
        raise RefusedError("gateway.name_unknown", "There is no resource of that URI here.")

    async def _reference(self, call: CallContext, ref: Any) -> tuple[str, Json]:
        match ref:
            case {"type": "ref/prompt", "name": str(name)}:
                slug, found = await self._prompt(call, name)
                return slug, {**ref, "name": found}
            case {"type": "ref/resource", "uri": str(uri)}:
                slug, found = await self._resource(call, uri)
                return slug, {**ref, "uri": found}
        raise RefusedError("gateway.params_invalid", "`ref` names neither a prompt nor a resource.")

    async def _listed(self, call: CallContext, method: str, member: str) -> list[Found]:
        assert call.caller is not None
        assert method in MEMBERS
        # To look something up in the lists of all servers counts like asking for them.
        await self._admit(call)
        servers = await reach.servers_of(call.caller, self._store, call.occurred_at)
        listings = await self._listings.all(call, servers, method, meta_of(call))
        return [
            (listing.server.slug, item[member])
            for listing in listings
            for item in listing.items
            if isinstance(item.get(member), str)
        ]


def meta_of(call: CallContext) -> Json:
    """The `_meta` with which servers are asked for their lists on behalf of this client."""
    from_client = call.message.params.get("_meta") if call.message is not None else None
    kept = from_client if isinstance(from_client, dict) else {}
    return {key: kept[key] for key in _META_KEYS if key in kept}


def is_inner(call: CallContext) -> bool:
    """Whether the client does not know the tool's schema, and so could not mirror arguments in headers."""
    return not call.modern or versions.decode_header(call.headers.get(b"mcp-name", b"")) in metatools.NAMES


def _inner(params: Json) -> Json:
    """The call inside a call of the meta-tool: its name and arguments, with everything else of the outer request."""
    outer = params.get("arguments", {})
    name = outer.get("name") if isinstance(outer, dict) else None
    arguments = outer.get("arguments", {}) if isinstance(outer, dict) else None
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        raise RefusedError("gateway.params_invalid", "`name` is text and `arguments` is an object.")
    if name in metatools.NAMES:
        raise RefusedError("gateway.params_invalid", "The tools of this endpoint are called directly.")
    return {**params, "name": name, "arguments": arguments}
