"""Open: what is not known of a server is found out by asking it.

Which eras of the protocol a server speaks. The catalog's reading is the start; answers correct it. A guess that was wrong costs a
request that the server refuses without acting on it, never a tool that runs twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.entries import ServerEntry
from gateway.mcp import versions
from gateway.mcp.errors import RefusedError
from gateway.peers import Ask
from gateway.peers.modern import ModernPeer, NotModernError

# How long it is believed that a server does not speak the modern revision.
DOUBT_AFTER_S = 300.0
_MAX_KNOWN = 8192
_HTTP_SSE = "sse"
_CLIENT = {"name": "mcp-marketplace", "version": "0.1.0"}
_NOT_SERVED = -32022
_UNDERSTOOD = frozenset({-32020, -32021})


@dataclass(frozen=True, slots=True)
class Spoken:
    """Each: true, false, or None when it is not known."""

    modern: bool | None = None
    legacy: bool | None = None  # `initialize` over Streamable HTTP
    http_sse: bool | None = None  # 2024-11-05


class Eras:
    def __init__(self, config: GatewayConfig, modern: ModernPeer) -> None:
        self._config, self._modern = config, modern
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, tuple[Spoken, float]] = {}

    def of(self, server: ServerEntry) -> Spoken:
        """What is known at this moment."""
        known = self._known.get(server.url)
        if known is None:
            return self._keep(server.url, seed(server))
        spoken, since = known
        if spoken.modern is False and self._loop.time() - since > DOUBT_AFTER_S:
            # Servers are upgraded: the next call finds out.
            return self._keep(server.url, replace(spoken, modern=None))
        return spoken

    def learn(
        self,
        server: ServerEntry,
        *,
        modern: bool | None = None,
        legacy: bool | None = None,
        http_sse: bool | None = None,
    ) -> None:
        """What an answer has shown."""
        spoken = self.of(server)
        changes = {"modern": modern, "legacy": legacy, "http_sse": http_sse}
        after = replace(spoken, **{name: value for name, value in changes.items() if value is not None})
        if after != spoken:
            self._keep(server.url, after)

    async def probe(self, call: CallContext) -> bool:
        """Ask the server of the call whether it speaks the modern revision, without any effect.

        A yes is remembered. A no may come from whatever stands in for a server that is away, so that it counts only when the
        server has answered in an older revision. Raises what asking raises when there is no telling.
        """
        is_modern = await self._discover(call)
        if is_modern:
            self.learn(call.entry, modern=True)
        return is_modern

    async def _discover(self, call: CallContext) -> bool:
        meta = {
            versions.META_VERSION: versions.FIRST_MODERN.decode(),
            versions.META_CAPABILITIES: {},
            versions.META_CLIENT: _CLIENT,
        }
        attempts, status = call.attempts, call.status
        try:
            async for message in self._modern.ask(call, Ask("probe", "server/discover", {"_meta": meta})):
                if "method" in message:
                    continue
                return _is_modern_answer(message, call.status)
        except NotModernError:
            return False
        finally:
            call.attempts, call.status = attempts, status
        raise RefusedError("upstream.failed", detail="no answer to server/discover")

    def _keep(self, url: str, spoken: Spoken) -> Spoken:
        while len(self._known) >= _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[url] = (spoken, self._loop.time())
        return spoken


def seed(server: ServerEntry) -> Spoken:
    """What the catalog found when it read the server. It asks in the modern revision first."""
    if server.transport == _HTTP_SSE:
        return Spoken(modern=False, legacy=False, http_sse=True)
    if not server.protocol:
        return Spoken()
    if versions.is_modern(server.protocol.encode()):
        return Spoken(modern=True)
    return Spoken(modern=False, legacy=True)


def _is_modern_answer(message: dict[str, object], status: int) -> bool:
    result, error = message.get("result"), message.get("error")
    if isinstance(result, dict):
        return True
    code = error.get("code") if isinstance(error, dict) else None
    if code == _NOT_SERVED:
        data = error.get("data") if isinstance(error, dict) else None
        supported = data.get("supported") if isinstance(data, dict) else None
        return isinstance(supported, list) and any(versions.is_modern(str(each).encode()) for each in supported)
    # A method that is unknown with 404 is an answer of the revision; with 200 it is one of an older server.
    return code in _UNDERSTOOD or (code == -32601 and status == 404)
