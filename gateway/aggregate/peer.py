"""Closed: of every server only what the caller may use is shown, and what names a server goes to that server alone.

The servers of a key as one server of the modern revision. Requests that name something of a server have been routed before they
come here (`route.py`); those are passed on, and what is left is answered from the lists of all servers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Any

from catalog import names
from gateway.aggregate import metatools, paging, reach, results, search
from gateway.aggregate.context import Saved, estimate
from gateway.aggregate.listen import Listening
from gateway.aggregate.listings import FRESH_S, MEMBERS, Listing, Listings, documents_of
from gateway.aggregate.route import Admit, Router, is_inner, meta_of
from gateway.aggregate.subcalls import SubCalls
from gateway.context import CallContext
from gateway.entries import ServerEntry
from gateway.mcp import params as mirrored
from gateway.mcp import versions
from gateway.mcp.errors import RefusedError
from gateway.peers import Ask, Json, Peer
from gateway.prices import price_of
from gateway.stages.authorise import callable_tools
from gateway.stages.tasks import Tasks
from gateway.store import EntryStore

META_SERVER = "io.modelcontextprotocol/serverInfo"
META_CONTEXT = "com.mcp-marketplace/context"
META_AWAY = "com.mcp-marketplace/unavailable"
_NAME, _VERSION = "mcp-marketplace", "0.1.0"
_AWAY_TTL_MS = 5_000
_MAX_QUERY_WORDS = 24
_INSTRUCTIONS = (
    "All servers that this key may use, as one. Names start with the server: `<server>__<tool>`. "
    f"Search with {metatools.SEARCH}, read a definition with {metatools.DESCRIBE}, call with {metatools.CALL}."
)


class Aggregate:
    """As `Peer`. `router.route` decides beforehand whether a request is one server's."""

    def __init__(
        self, store: EntryStore, listings: Listings, peer: Peer, opened: SubCalls, admit: Admit, tasks: Tasks
    ) -> None:
        self._store, self._listings, self._peer = store, listings, peer
        self.router = Router(store, listings, admit, tasks)
        self._listening = Listening(store, listings, peer, opened, tasks)

    async def ask(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        if call.server is not None:
            async for message in self._of_server(call, request):
                yield message
            return
        if request.method == "subscriptions/listen":
            async for message in self._listening.listen(call, request):
                yield message
            return
        yield {"jsonrpc": "2.0", "id": request.request_id, "result": await self._own(call, request)}

    async def _of_server(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        assert call.server is not None
        if request.method == "tools/call" and is_inner(call) and (call.modern or not request.headers):
            # What the client of our own tool says in such headers is about that one.
            request.headers = await self._mirrored(call, request)
        slug = call.server.slug
        async with contextlib.aclosing(self._peer.ask(call, request)) as messages:
            async for message in messages:
                yield results.of_server(slug, request.method, message)

    async def _mirrored(self, call: CallContext, request: Ask) -> bytes:
        assert call.server is not None
        listing = await self._listings.one(call, call.server, "tools/list", meta_of(call))
        for tool in listing.items:
            if tool.get("name") == request.params["name"]:
                return mirrored.header_lines(tool.get("inputSchema"), request.params.get("arguments"))
        return b""

    async def _own(self, call: CallContext, request: Ask) -> Json:
        """The result of a request that is for the endpoint itself."""
        match request.method:
            case "server/discover":
                return await self._discover(call)
            case "tools/list":
                return await self._tools(call, request.params)
            case "resources/list" | "resources/templates/list" | "prompts/list":
                return await self._list(call, request.method, request.params)
            case "tools/call" if request.params.get("name") == metatools.SEARCH:
                return await self._search(call, request.params.get("arguments", {}))
            case "tools/call" if request.params.get("name") == metatools.DESCRIBE:
                return await self._describe(call, request.params.get("arguments", {}))
        raise RefusedError("access.method_unknown", f"{request.method} is not served at this endpoint.")

    async def _discover(self, call: CallContext) -> Json:
        found = await self._all(call, "server/discover")
        result: Json = {
            "resultType": "complete",
            "supportedVersions": [versions.FIRST_MODERN.decode()],
            "capabilities": merged([listing.result.get("capabilities") for listing in found]),
            "instructions": _INSTRUCTIONS,
        }
        return {**result, **_caching(found), "_meta": _meta(found)}

    async def _tools(self, call: CallContext, asked: Json) -> Json:
        found = await self._all(call, "tools/list")
        form, chosen = _form_of(call)
        places: list[paging.Place] = [("", number) for number in range(len(metatools.DEFINITIONS))]
        sizes = list(metatools.SIZES)
        items: list[tuple[str, Json]] = [("", definition) for definition in metatools.DEFINITIONS]
        available = 0
        total = 0
        for listing in found:
            slug = listing.server.slug
            for number, tool, size in _callable(call, listing):
                available += 1
                total += size
                if form == "search" or (form == "chosen" and names.expose(slug, tool["name"]) not in chosen):
                    continue
                places.append((slug, number))
                sizes.append(size)
                items.append((slug, tool))
        start, end, cursor = paging.page(places, sizes, asked.get("cursor"))
        tools = [results.listed(slug, "tools/list", tool) if slug else tool for slug, tool in items[start:end]]
        saved = Saved(form, available, total, len(items), sum(sizes))
        result: Json = {"resultType": "complete", "tools": tools, **_caching(found)}
        if cursor is not None:
            result["nextCursor"] = cursor
        return {**result, "_meta": {**_meta(found), META_CONTEXT: saved.as_json()}}

    async def _list(self, call: CallContext, method: str, asked: Json) -> Json:
        """Resources, templates or prompts of all servers."""
        found = await self._all(call, method)
        all_items = [
            (listing.server.slug, number, item) for listing in found for number, item in enumerate(listing.items)
        ]
        sizes = [size for listing in found for size in listing.sizes]
        places = [(slug, number) for slug, number, _ in all_items]
        start, end, cursor = paging.page(places, sizes, asked.get("cursor"))
        items = [results.listed(slug, method, item) for slug, _, item in all_items[start:end]]
        result: Json = {"resultType": "complete", MEMBERS[method]: items, **_caching(found)}
        if cursor is not None:
            result["nextCursor"] = cursor
        return {**result, "_meta": _meta(found)}

    async def _search(self, call: CallContext, arguments: Any) -> Json:
        if (problem := _search_problem(arguments)) is not None:
            return metatools.failed(problem, _meta(()))
        found = await self._all(call, "tools/list")
        words = search.words_of(arguments.get("query", ""))[:_MAX_QUERY_WORDS]
        wanted_server, wanted_effect = arguments.get("server", ""), arguments.get("side_effect", "")
        hits: list[tuple[float, str, Json]] = []
        available = total = 0
        for listing in found:
            documents = await documents_of(listing)
            for number, tool, size in _callable(call, listing):
                if not available % search.AT_ONCE:
                    # Reading thousands of definitions takes a while, and other calls do not wait for it.
                    await asyncio.sleep(0)
                available += 1
                total += size
                points = search.score(documents[number], words) if words else 1.0
                line = _line(call, listing.server, tool)
                if points and wanted_server in {"", listing.server.slug} and wanted_effect in {"", line["side_effect"]}:
                    hits.append((-points, line["name"], line))
        hits.sort(key=lambda hit: hit[:2])
        lines = [line for _, _, line in hits[: arguments.get("limit", metatools.DEFAULT_LIMIT)]]
        saved = Saved("search", available, total, len(lines), sum(map(estimate, lines)))
        structured = {"tools": lines, "matches": len(hits), "context": saved.as_json()}
        return metatools.complete(structured, _meta(found))

    async def _describe(self, call: CallContext, arguments: Any) -> Json:
        name = arguments.get("name") if isinstance(arguments, dict) else None
        if not isinstance(name, str):
            return metatools.failed("`name` is required and is text.", _meta(()))
        found = await self._all(call, "tools/list")
        for listing in found:
            slug = listing.server.slug
            for _, tool, _ in _callable(call, listing):
                if names.expose(slug, tool["name"]) == name:
                    definition = results.listed(slug, "tools/list", tool)
                    return metatools.complete(
                        {**_line(call, listing.server, tool), "definition": definition}, _meta(found)
                    )
        return metatools.failed(f"There is no tool named {name[:256]!r} that you may call. Search again.", _meta(found))

    async def _all(self, call: CallContext, method: str) -> list[Listing]:
        assert call.caller is not None
        servers = await reach.servers_of(call.caller, self._store, call.occurred_at)
        return await self._listings.all(call, servers, method, meta_of(call))


def merged(capabilities: Sequence[Any]) -> Json:
    """What at least one server can do, and tools, which the endpoint itself has."""
    found: Json = {"tools": {"listChanged": True}}
    for each in capabilities:
        if not isinstance(each, dict):
            continue
        for name in ("prompts", "resources", "completions", "logging"):
            if isinstance(each.get(name), dict):
                found[name] = {
                    **found.get(name, {}),
                    **{key: True for key, value in each[name].items() if value is True},
                }
        if isinstance(each.get("extensions"), dict):
            found["extensions"] = {**each["extensions"], **found.get("extensions", {})}
    return found


def _callable(call: CallContext, listing: Listing) -> list[tuple[int, Json, int]]:
    """The tools of a listing that the caller may call, each with its number and size."""
    assert call.caller is not None
    allowed: Collection[str] = callable_tools(call.caller, listing.server, call.occurred_at)
    return [
        (number, tool, size)
        for number, (tool, size) in enumerate(zip(listing.items, listing.sizes, strict=True))
        if tool.get("name") in allowed
    ]


def _form_of(call: CallContext) -> tuple[str, Collection[str]]:
    assert call.caller is not None
    key = call.caller.key
    return key.form, key.chosen_tools


def _line(call: CallContext, server: ServerEntry, tool: Json) -> Json:
    """A tool as the search shows it: enough to choose it, no more."""
    rule = server.policy.tools[tool["name"]]
    assert call.caller is not None
    price = price_of(call.caller.tenant, server, tool["name"], call.occurred_at)
    title, description = tool.get("title"), tool.get("description")
    line: Json = {"name": names.expose(server.slug, tool["name"]), "server": server.slug}
    if isinstance(title, str):
        line["title"] = title
    line["description"] = _first_words(description) if isinstance(description, str) else ""
    line["side_effect"] = str(rule.side_effect or "")
    line["price"] = f"{price.rate:f} {price.currency}" if price is not None else "0"
    return line


def _first_words(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "query": lambda value: isinstance(value, str),
    "server": lambda value: isinstance(value, str),
    "side_effect": lambda value: value in {"read", "write", "destructive"},
    "limit": lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= metatools.MAX_LIMIT,
}


def _search_problem(arguments: Any) -> str | None:
    if not isinstance(arguments, dict):
        return "`arguments` must be an object."
    for key, value in arguments.items():
        if key not in _CHECKS:
            return f"There is no argument {key[:64]!r}. Known: {', '.join(_CHECKS)}."
        if not _CHECKS[key](value):
            return f"{key!r} is not as its schema says."
    return None


def _caching(found: Sequence[Listing]) -> Json:
    away = any(listing.failed for listing in found)
    return {"ttlMs": _AWAY_TTL_MS if away else int(FRESH_S * 1000), "cacheScope": "private"}


def _meta(found: Sequence[Listing]) -> Json:
    meta: Json = {META_SERVER: {"name": _NAME, "version": _VERSION, "title": "MCP Marketplace"}}
    away = [{"server": listing.server.slug, "message": listing.failed} for listing in found if listing.failed]
    return {**meta, META_AWAY: away} if away else meta
