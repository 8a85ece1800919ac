"""Open where it reads: without Valkey a session goes on as this process knew it last. Closed where it writes.

The part of our own sessions that changes: the log level, the subscriptions, and that a session has ended. What a session is
lies in its id (`gateway.mcp.session`), so that only sessions that changed something take space here. Every process keeps a
copy, is told of each change by the bus, and forgets its copies after a gap: no request waits for Valkey but a session's first
one at a process.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.bus import Bus, BusAwayError
from gateway.mcp.errors import RefusedError
from gateway.mcp.session import OWN_AGE_S

KEY = "gateway:v1:session:"
_CHANGED = "session"
_MAX_COPIES = 20_000
MAX_SUBSCRIPTIONS = 1000
MAX_URI = 4096
_ENDED, _LEVEL, _URI = "ended", "level", "uri:"


@dataclass(slots=True)
class State:
    level: str = ""
    subscriptions: set[str] = field(default_factory=set)
    ended: bool = False


class Sessions:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._changed: Callable[[str], None] = lambda name: None
        self._copies: OrderedDict[str, State] = OrderedDict()
        self._loading: dict[str, asyncio.Task[State]] = {}
        self._disturbed: set[str] = set()
        bus.hear(_CHANGED, self._hear)
        bus.on_gap(self._copies.clear)

    def on_change(self, changed: Callable[[str], None]) -> None:
        """Be called with the name of a session whose subscriptions or end were told by some process."""
        self._changed = changed

    def begin(self, name: str) -> None:
        """A session that this process has just minted: nobody can have changed it."""
        self._keep(name, State())

    async def state(self, name: str) -> State:
        copy = self._copies.get(name)
        if copy is not None:
            self._copies.move_to_end(name)
            return copy
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = asyncio.create_task(self._load(name))
            task.add_done_callback(lambda _: self._loading.pop(name, None))
        return await asyncio.shield(task)

    async def set_level(self, name: str, level: str) -> None:
        await self._store(name, _LEVEL, level)

    async def subscribe(self, name: str, uri: str) -> None:
        if len(uri.encode()) > MAX_URI:
            # It is kept in Valkey for as long as the session may live.
            raise RefusedError("gateway.params_invalid", f"The URI of a subscription has at most {MAX_URI} bytes.")
        state = await self.state(name)
        if uri not in state.subscriptions and len(state.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise RefusedError(
                "gateway.params_invalid", f"A session subscribes to at most {MAX_SUBSCRIPTIONS} resources."
            )
        await self._store(name, _URI + uri, "1")

    async def unsubscribe(self, name: str, uri: str) -> None:
        await self._store(name, _URI + uri, "")

    async def end(self, name: str) -> None:
        await self._store(name, _ENDED, "1")

    async def _load(self, name: str) -> State:
        try:
            stored = await self._bus.command("HGETALL", KEY + name)
        except BusAwayError:
            return State()
        state = State()
        for word, value in _pairs(stored):
            _apply(state, word, value)
        if name in self._disturbed:
            # Something changed while it was read: what was read serves once.
            self._disturbed.discard(name)
        else:
            self._keep(name, state)
        return state

    async def _store(self, name: str, word: str, value: str) -> None:
        """Raises RefusedError when it cannot be stored."""
        try:
            if value:
                await self._bus.command("HSET", KEY + name, word, value)
                await self._bus.command("EXPIRE", KEY + name, OWN_AGE_S)
            else:
                await self._bus.command("HDEL", KEY + name, word)
        except BusAwayError as exc:
            raise RefusedError("gateway.session_state_unavailable") from exc
        self._bus.tell(_CHANGED, {"name": name, "word": word, "value": value})

    def _hear(self, body: dict[str, Any]) -> None:
        name, word = body["name"], body["word"]
        if name in self._loading:
            self._disturbed.add(name)
        if (copy := self._copies.get(name)) is not None:
            _apply(copy, word, body["value"])
        if word != _LEVEL:
            self._changed(name)

    def _keep(self, name: str, state: State) -> None:
        while len(self._copies) >= _MAX_COPIES:
            self._copies.popitem(last=False)
        self._copies[name] = state


def _apply(state: State, word: str, value: str) -> None:
    if word == _LEVEL:
        state.level = value
    elif word == _ENDED:
        state.ended = True
    elif value:
        state.subscriptions.add(word.removeprefix(_URI))
    else:
        state.subscriptions.discard(word.removeprefix(_URI))


def _pairs(stored: Any) -> list[tuple[str, str]]:
    """The answer to HGETALL, whichever form the client library gives it."""
    items = stored.items() if isinstance(stored, dict) else zip(stored[::2], stored[1::2], strict=True)
    return [(word.decode(), value.decode()) for word, value in items]
