"""What a server offers, read from the server itself.

Every era is spoken: `server/discover` first (2026-07-28, stateless), and when that is not understood, `initialize` with a
session that is given back afterwards (2025-11-25 and older), over HTTP+SSE (2024-11-05) where nobody hears it otherwise.
Definitions of tools keep every field, known or not, because a caller relies on them. Whatever cannot be stored or exceeds a
bound is an error that names it, never a silent cut.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
from django.conf import settings

from catalog.errors import ServerAnswerError, ServerMethodError
from catalog.types import Inventory
from catalog.wire import Budget, EventWire, NoEventsError, Noted, Reply, Wire
from core import egress, http
from core.errors import UpstreamTimeoutError

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_META = "io.modelcontextprotocol/"
_CLIENT = {"name": "mcp-marketplace-catalog", "version": "0.1.0"}

_VERSION_REFUSED = -32022
_UNUSABLE = frozenset({-32020, -32021})  # a modern server that does not accept our well-formed request


# With these an address of HTTP+SSE refuses a POST.
_NO_EAR = frozenset({400, 404, 405})


class NoEarError(ServerAnswerError):
    """The address does not take `initialize`."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one reading may take. `seconds` is the whole reading."""

    seconds: float = 30.0
    bytes: int = 10 * 1024 * 1024
    pages: int = 100
    tools: int = 2_000
    listed: int = 20_000  # resources or prompts, which are only counted
    depth: int = 64
    name_chars: int = 128
    counts: bool = True  # whether resources and prompts are counted


@dataclass(frozen=True, slots=True)
class Look:
    """`took_ms` is the last request for tools, connection included."""

    inventory: Inventory
    took_ms: float


BOUNDS = Bounds()


class Dialect(Protocol):
    """A server that answered, in the era that it speaks."""

    protocol: str
    server_info: dict[str, Any]
    instructions: str
    capabilities: dict[str, Any]

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]: ...

    async def close(self) -> None: ...


def read(url: str, *, allow: egress.AllowList | None = None, bounds: Bounds = BOUNDS) -> Inventory:
    """Ask the server at this address what it offers.

    `allow` lists private hosts that may be asked, by default those that the operator opened. Raises InvalidError for an address
    that may not be used or that wants a sign-in, UpstreamError and UpstreamTimeoutError for what the server does wrong.
    Not for coroutines: those use `look`.
    """

    async def run() -> Inventory:
        async with http.async_client(
            allowed(allow), timeout=timeout_of(bounds), max_reply_bytes=bounds.bytes
        ) as client:
            return (await look(client, url, bounds=bounds)).inventory

    return asyncio.run(run())


def allowed(allow: egress.AllowList | None = None) -> egress.AllowList:
    """The private hosts that may be asked: these, or those that the operator opened."""
    return egress.parse_allow_list(settings.EGRESS_ALLOW) if allow is None else allow


def timeout_of(bounds: Bounds) -> httpx.Timeout:
    return httpx.Timeout(min(10.0, bounds.seconds), connect=3.0)


async def look(client: httpx.AsyncClient, url: str, *, bounds: Bounds = BOUNDS, noted: Noted | None = None) -> Look:
    """As `read`, over a guarded client of `core.http`, within one deadline for everything.

    `noted` is filled while the server is asked, so that what was seen is known also when the reading fails.
    """
    wire = Wire(client, url, Budget.of(bounds.bytes, bounds.seconds), noted)
    try:
        async with asyncio.timeout(bounds.seconds):
            dialect = await _open(wire)
            try:
                found = await _inventory(dialect, bounds)
                took_ms = wire.noted.last_ms
            finally:
                await dialect.close()
    except TimeoutError as error:
        raise UpstreamTimeoutError("The server took too long to describe itself.") from error
    return Look(found, took_ms)


async def _open(wire: Wire) -> Dialect:
    params, headers = _modern_envelope("server/discover", {})
    reply = await wire.ask("server/discover", params, headers)
    if reply.result is not None:
        return Modern(wire, _checked("server/discover", reply))
    code = (reply.error or {}).get("code")
    if code in _UNUSABLE:
        raise _method_error("server/discover", reply)
    if code == _VERSION_REFUSED:
        _must_speak_legacy(reply)
    try:
        return await Legacy.open(wire)
    except NoEarError as refused:
        return await _open_events(wire, refused)


async def _open_events(wire: Wire, refused: NoEarError) -> Dialect:
    """The transport of 2024-11-05; when that is not there either, what the address said before is what is wrong."""
    try:
        events = await wire.as_events()
    except NoEventsError:
        raise refused from None
    try:
        return await Legacy.open(events)
    except BaseException:
        await events.end({})
        raise


class Modern:
    def __init__(self, wire: Wire, described: dict[str, Any]) -> None:
        self._wire = wire
        self.protocol = MODERN
        self.capabilities = _object(described, "capabilities")
        self.instructions = _text(described, "instructions")
        about = described.get("_meta") if isinstance(described.get("_meta"), dict) else {}
        self.server_info = _object(about or {}, f"{_META}serverInfo") or _object(described, "serverInfo")

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        full, headers = _modern_envelope(method, params)
        return _checked(method, await self._wire.ask(method, full, headers))

    async def close(self) -> None:
        """Stateless: there is nothing to give back."""


class Legacy:
    def __init__(self, wire: Wire | EventWire, described: dict[str, Any], session_id: str) -> None:
        self._wire = wire
        self.protocol = _text(described, "protocolVersion")
        if self.protocol not in LEGACY:
            raise ServerAnswerError(
                f"The server chose the protocol version {self.protocol[:40]!r}, which is not known."
            )
        self.capabilities = _object(described, "capabilities")
        self.instructions = _text(described, "instructions")
        self.server_info = _object(described, "serverInfo")
        self._headers = {"mcp-protocol-version": self.protocol} | _session_header(session_id)

    @classmethod
    async def open(cls, wire: Wire | EventWire) -> Legacy:
        """Shake hands. Raises NoEarError when nobody hears it at this address."""
        params = {"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": _CLIENT}
        reply = await wire.ask("initialize", params, {})
        if reply.message is None and reply.status in _NO_EAR:
            raise NoEarError(f"The address answers initialize with HTTP {reply.status} and no MCP result.")
        opened = cls(wire, _checked("initialize", reply), reply.session_id)
        await wire.tell("notifications/initialized", opened._headers)
        return opened

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return _checked(method, await self._wire.ask(method, params, self._headers))

    async def close(self) -> None:
        if "mcp-session-id" in self._headers or isinstance(self._wire, EventWire):
            await self._wire.end(self._headers)


def _modern_envelope(method: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Parameters and headers that say the same: a modern server refuses the request when they differ."""
    meta = {
        f"{_META}protocolVersion": MODERN,
        f"{_META}clientInfo": _CLIENT,
        f"{_META}clientCapabilities": {},
    }
    return {**params, "_meta": meta}, {"mcp-protocol-version": MODERN, "mcp-method": method}


def _session_header(session_id: str) -> dict[str, str]:
    if not session_id:
        return {}
    if len(session_id) > 1024 or not all("!" <= char <= "~" for char in session_id):
        raise ServerAnswerError("The server's session id holds characters that a session id may not hold.")
    return {"mcp-session-id": session_id}


def _must_speak_legacy(reply: Reply) -> None:
    data = (reply.error or {}).get("data")
    supported = data.get("supported") if isinstance(data, dict) else None
    versions = [str(each)[:40] for each in supported[:10]] if isinstance(supported, list) else []
    if not set(versions) & set(LEGACY):
        spoken = ", ".join(versions) or "none that it names"
        raise ServerAnswerError(f"The server speaks no protocol version that the catalog knows; it speaks {spoken}.")


def _checked(method: str, reply: Reply) -> dict[str, Any]:
    """The result of a reply. Raises ServerMethodError for a JSON-RPC error, ServerAnswerError for no usable answer."""
    if reply.error is not None:
        raise _method_error(method, reply)
    if reply.result is None:
        raise ServerAnswerError(f"The address answers {method} with HTTP {reply.status} and no MCP result.")
    if reply.result.get("resultType", "complete") != "complete":
        raise ServerAnswerError(f"The server wants further input before it answers {method}.")
    return reply.result


def _method_error(method: str, reply: Reply) -> ServerMethodError:
    error = reply.error or {}
    code = error.get("code")
    return ServerMethodError(method, code if isinstance(code, int) else 0, str(error.get("message", "")))


async def _inventory(dialect: Dialect, bounds: Bounds) -> Inventory:
    offered, count = dialect.capabilities, bounds.counts
    resources = await _count(dialect, "resources", bounds) if count and "resources" in offered else None
    prompts = await _count(dialect, "prompts", bounds) if count and "prompts" in offered else None
    tools = await _list(dialect, "tools/list", "tools", bounds.tools, bounds) if "tools" in offered else []
    found = Inventory(
        protocol=dialect.protocol,
        server_info=dialect.server_info,
        instructions=dialect.instructions,
        capabilities=offered,
        tools=_checked_tools(tools, bounds),
        resource_count=resources,
        prompt_count=prompts,
    )
    for what, value in (
        ("description", [found.server_info, found.instructions, offered]),
        *((f"tool {tool['name']!r}", tool) for tool in found.tools),
    ):
        _check_storable(value, what, bounds.depth)
    return found


async def _list(dialect: Dialect, method: str, key: str, most: int, bounds: Bounds) -> list[Any]:
    """Every entry of a paged list. An empty cursor is a cursor; only its absence ends the list."""
    entries: list[Any] = []
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(bounds.pages):
        result = await dialect.ask(method, {} if cursor is None else {"cursor": cursor})
        page = result.get(key)
        if not isinstance(page, list):
            raise ServerAnswerError(f"The server's answer to {method} has no list of {key}.")
        entries.extend(page)
        if len(entries) > most:
            raise ServerAnswerError(f"The server offers more than {most:,} {key}.")
        cursor = result.get("nextCursor")
        if cursor is None:
            return entries
        if not isinstance(cursor, str) or cursor in seen:
            raise ServerAnswerError(f"The server's list of {key} does not end: it repeats a cursor.")
        seen.add(cursor)
    raise ServerAnswerError(f"The server's list of {key} has more than {bounds.pages} pages.")


async def _count(dialect: Dialect, what: str, bounds: Bounds) -> int | None:
    """How many there are; unknown when the server declares them and then refuses to list them."""
    try:
        return len(await _list(dialect, f"{what}/list", what, bounds.listed, bounds))
    except ServerMethodError:
        return None


def _checked_tools(tools: list[Any], bounds: Bounds) -> list[dict[str, Any]]:
    names: set[str] = set()
    for position, tool in enumerate(tools, start=1):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str) or not name.strip():
            raise ServerAnswerError(f"Tool number {position} of the server has no name.")
        if len(name) > bounds.name_chars or not name.isprintable():
            raise ServerAnswerError(f"The tool name {name[:60]!r} is too long or not printable.")
        if name in names:
            raise ServerAnswerError(f"The server lists the tool {name!r} twice.")
        if not isinstance(tool.get("inputSchema"), dict):
            raise ServerAnswerError(f"The tool {name!r} has no input schema.")
        names.add(name)
    return tools


def _check_storable(value: Any, what: str, depth_left: int) -> None:
    """Refuse what JSON of Postgres cannot hold as it is: NUL, lone surrogates, infinite numbers; and bound the depth."""
    if depth_left < 0:
        raise ServerAnswerError(f"The server's {what} is nested too deeply.")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_storable(key, what, depth_left - 1)
            _check_storable(item, what, depth_left - 1)
    elif isinstance(value, list):
        for item in value:
            _check_storable(item, what, depth_left - 1)
    elif isinstance(value, str):
        if "\x00" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise ServerAnswerError(f"The server's {what} holds a character that cannot be stored.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ServerAnswerError(f"The server's {what} holds a number that cannot be stored.")


def _object(source: dict[str, Any], key: str) -> dict[str, Any]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def _text(source: dict[str, Any], key: str) -> str:
    value = source.get(key)
    return value if isinstance(value, str) else ""
