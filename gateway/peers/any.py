"""Closed: a server that understands neither era is not called.

A server of whatever era, asked in modern terms.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from core.errors import MarketplaceError
from gateway.context import CallContext
from gateway.mcp import versions
from gateway.mcp.errors import RefusedError
from gateway.peers import Ask, Json, translate
from gateway.peers.eras import Eras
from gateway.peers.legacy import LegacyPeer
from gateway.peers.modern import ModernPeer, NotModernError
from gateway.peers.streamable import NotLegacyError
from gateway.upstream.http1 import UpstreamBrokenError

# What a client that never set a level is told: the older revisions leave it to the server, the modern one needs a level.
DEFAULT_LEVEL = "info"


class AnyPeer:
    """The peer of the call's server: modern where it speaks that, else by handshake."""

    def __init__(self, eras: Eras, modern: ModernPeer, legacy: LegacyPeer) -> None:
        self.eras, self.modern, self.legacy = eras, modern, legacy

    async def ask(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        believed = self.eras.of(call.entry).modern
        if await self.is_modern(call):
            try:
                async with contextlib.aclosing(self.modern.ask(call, _with_level(call, request))) as messages:
                    async for message in messages:
                        yield message
                return
            except NotModernError as exc:
                # Refused by a server that did not understand, so that nothing has happened yet.
                if await self.eras.probe(call):
                    raise RefusedError("upstream.failed", detail=f"HTTP {exc.status}") from exc
        try:
            async with contextlib.aclosing(self.legacy.ask(call, request)) as messages:
                async for message in messages:
                    self.eras.learn(call.entry, modern=False)
                    yield message
            return
        except NotLegacyError as exc:
            # Nothing has happened here either. What was only believed may have changed: servers are upgraded.
            if believed is not False or not await self.eras.probe(call):
                raise RefusedError("upstream.failed", detail=f"HTTP {exc.status} to every era of the protocol") from exc
        async with contextlib.aclosing(self.modern.ask(call, _with_level(call, request))) as messages:
            async for message in messages:
                yield message

    async def is_modern(self, call: CallContext) -> bool:
        """Whether the call's server speaks the modern revision; asks it when that is not known."""
        modern = self.eras.of(call.entry).modern
        return await self.eras.probe(call) if modern is None else modern

    async def is_older(self, call: CallContext, request: Ask) -> bool:
        """Whether a server that was thought modern turns out to speak only an older revision."""
        try:
            return not await self.eras.probe(call) and await self.legacy.opens(call, request)
        except (UpstreamBrokenError, MarketplaceError):
            return False


def _with_level(call: CallContext, request: Ask) -> Ask:
    """The request of an older client for a modern server. An older server is told a level only where the client set one."""
    meta = translate.meta_of(request.params)
    if call.session is None or versions.META_LOG_LEVEL in meta:
        return request
    return replace(request, params={**request.params, "_meta": {**meta, versions.META_LOG_LEVEL: DEFAULT_LEVEL}})
