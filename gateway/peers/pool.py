"""Sessions with servers, kept open between calls: never shared across organisations, credentials, servers or client capabilities.

A session that the server may ask something, or that logs for somebody, serves one request at a time; others serve many.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway.context import CallContext
from gateway.mcp import lossless, versions
from gateway.mcp.errors import RefusedError
from gateway.peers import Ask, Json, translate
from gateway.peers.session import Session
from gateway.upstream.client import ServerBusyError
from gateway.upstream.credentials import account_of

IDLE_S = 60.0
MAX_SESSIONS = 4096
MAX_PER_TENANT = 1024
# Of one organisation with one server: each may hold a connection, of which a server has a few hundred.
MAX_PER_TENANT_AND_SERVER = 128
MAX_PER_OWNER = 64
MAX_CAPABILITIES_BYTES = 64 * 1024

Open = Callable[[CallContext, Json, Any, bool], Awaitable[Session]]


@dataclass(frozen=True, slots=True)
class PoolKey:
    owner: str  # tenant, key, server and the credential there
    url: str
    capabilities: bytes
    alone: bool

    @property
    def place(self) -> tuple[str, str, bytes]:
        return self.owner, self.url, self.capabilities


class SessionPool:
    def __init__(self, opener: Open, spawn: Callable[[Any], asyncio.Task[Any]]) -> None:
        self._opener, self._spawn = opener, spawn
        self._loop = asyncio.get_running_loop()
        self._idle: dict[PoolKey, list[Session]] = defaultdict(list)  # alone: what nobody uses
        self._shared: dict[PoolKey, asyncio.Future[Session]] = {}
        self._keys: dict[Session, PoolKey] = {}
        self._listening: dict[tuple[str, str, bytes], Session] = {}
        self._owned: dict[str, int] = defaultdict(int)

    def __len__(self) -> int:
        return len(self._keys)

    async def lease(self, call: CallContext, request: Ask) -> Session:
        """A session for one request. Raises what opening one raises, and ServerBusyError at the greatest number."""
        key = key_of(call, request)
        client = translate.meta_of(request.params).get(versions.META_CLIENT)
        # Servers tell what changes to the session that changed it: who listens there had better call there.
        listening = self._listening.get(key.place)
        if listening is not None and listening.users == 1 and not (listening.lost or listening.spoilt):
            return self._use(listening)
        if not key.alone:
            return await self._lease_shared(call, key, client)
        idle = self._idle[key]
        while idle:
            session = idle.pop()
            if not session.lost:
                session.users += 1
                return session
            self._forget(session)
        return self._use(await self._open(call, key, client))

    def release(self, session: Session) -> None:
        """The request is over; the session waits for the next one."""
        session.users -= 1
        session.idle_since = self._loop.time()
        key = self._keys.get(session)
        if key is None:
            return
        if session.lost or (session.spoilt and not session.users):
            self.discard(session)
        elif key.alone and not session.users:
            self._idle[key].append(session)

    def listen(self, session: Session) -> None:
        """A subscription lives in this session: it goes to no other request, but calls of the same client may join it."""
        self._listening[self._keys[session].place] = session

    def unlisten(self, session: Session) -> None:
        """The subscription is over. What it subscribed to ends with its session, once no call is under way there."""
        key = self._keys.get(session)
        if key is not None and self._listening.get(key.place) is session:
            del self._listening[key.place]
        session.spoilt = True
        self.release(session)

    def is_alone(self, session: Session) -> bool:
        """Whether it serves one request at a time."""
        key = self._keys.get(session)
        return key is not None and key.alone

    def discard(self, session: Session) -> None:
        """End a session; who still uses it is told."""
        self._forget(session)
        self._spawn(session.close())

    def reap(self) -> None:
        """End what has been idle too long."""
        limit = self._loop.time() - IDLE_S
        for session in [each for each in self._keys if not each.users and each.idle_since < limit]:
            self.discard(session)

    async def close(self) -> None:
        sessions = tuple(self._keys)
        for session in sessions:
            self._forget(session)
        await asyncio.gather(*(session.close() for session in sessions), return_exceptions=True)

    async def _lease_shared(self, call: CallContext, key: PoolKey, client: Any) -> Session:
        opening = self._shared.get(key)
        if opening is None or (opening.done() and (opening.exception() is not None or opening.result().lost)):
            opening = self._shared[key] = self._loop.create_future()
            try:
                opening.set_result(await self._open(call, key, client))
            except BaseException as exc:
                self._shared.pop(key, None)
                failure = exc if isinstance(exc, Exception) else ServerBusyError()
                opening.set_exception(failure)
                opening.exception()  # seen, whether or not somebody waits with us
                raise
        return self._use(await asyncio.shield(opening))

    @staticmethod
    def _use(session: Session) -> Session:
        session.users += 1
        return session

    async def _open(self, call: CallContext, key: PoolKey, client: Any) -> Session:
        for beginning, server, most in _bounds(key.owner):
            if sum(count for owner, count in self._owned.items() if _is_of(owner, beginning, server)) >= most:
                self._make_room(beginning, server)
        self._owned[key.owner] += 1
        try:
            session = await self._opener(call, lossless.loads(key.capabilities), client, key.alone)
        except BaseException:
            self._disown(key.owner)
            raise
        self._keys[session] = key
        session.idle_since = self._loop.time()
        return session

    def _make_room(self, beginning: str, server: str) -> None:
        """End the session that has been idle longest of those that count: who has too many gives up its own."""
        idle = [
            session for session, key in self._keys.items() if not session.users and _is_of(key.owner, beginning, server)
        ]
        if not idle:
            raise ServerBusyError
        self.discard(min(idle, key=lambda session: session.idle_since))

    def _forget(self, session: Session) -> None:
        key = self._keys.pop(session, None)
        if key is None:
            return
        if self._listening.get(key.place) is session:
            del self._listening[key.place]
        self._disown(key.owner)
        if not key.alone:
            shared = self._shared.get(key)
            if shared is not None and shared.done() and not shared.exception() and shared.result() is session:
                del self._shared[key]
        elif session in (idle := self._idle.get(key, [])):
            idle.remove(session)
        if not self._idle.get(key):
            self._idle.pop(key, None)

    def _disown(self, owner: str) -> None:
        self._owned[owner] -= 1
        if self._owned[owner] <= 0:
            del self._owned[owner]


def _bounds(owner: str) -> tuple[tuple[str, str, int], ...]:
    """How an owner must begin and with which server to count, and how many sessions such may have together."""
    tenant, _, server, _ = owner.split("|", 3)
    return (
        (owner, server, MAX_PER_OWNER),
        (f"{tenant}|", server, MAX_PER_TENANT_AND_SERVER),
        (f"{tenant}|", "", MAX_PER_TENANT),
        ("", "", MAX_SESSIONS),
    )


def _is_of(owner: str, beginning: str, server: str) -> bool:
    return owner.startswith(beginning) and (not server or owner.split("|", 3)[2] == server)


def owner_of(call: CallContext) -> str:
    assert call.caller is not None
    assert call.server is not None
    return f"{call.caller.tenant.tenant_id}|{call.caller.key.api_key_id}|{call.server.server_id}|{account_of(call)}"


def key_of(call: CallContext, request: Ask) -> PoolKey:
    """Which sessions may serve this request."""
    assert call.server is not None
    capabilities = translate.capabilities_of(request.params)
    needs_ear = request.method == "subscriptions/listen" or bool(translate.log_level_of(request.params))
    alone = needs_ear or (request.method in translate.ASKING and translate.asks_back(capabilities))
    described = lossless.canonical(capabilities)
    if len(described) > MAX_CAPABILITIES_BYTES:
        # They are kept with the session for as long as it lives.
        raise RefusedError("gateway.params_invalid", "The client's capabilities are too large.")
    return PoolKey(owner_of(call), call.url, described, alone)
