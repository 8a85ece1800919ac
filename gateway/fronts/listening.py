"""Open: a server that cannot be listened to leaves a stream that says nothing, and is tried again.

The GET streams of our own sessions: `subscriptions/listen` at the server, with the lists that it tells changes of and the
resources that the session subscribed to. The server is asked anew when these change, wherever that was. A session may open
several; each message goes out on one, the latest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core.errors import MarketplaceError
from gateway import answers
from gateway.answers import Send
from gateway.bus import Bus
from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.fronts import requests
from gateway.fronts.sessions import Sessions, State
from gateway.mcp import errors, lossless, sse
from gateway.mcp.session import OwnSession
from gateway.peers import Ask, Peer
from gateway.upstream.http1 import UpstreamBrokenError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_KIND = "listening"
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
# What ended sooner than this was not worth asking for, and is asked for less often.
_WORTH_S = 30.0


class Ear:
    """One open GET stream."""

    __slots__ = ("changed", "muted", "token")

    def __init__(self, token: str) -> None:
        self.token = token
        self.changed = asyncio.Event()
        self.muted = False


class Listening:
    def __init__(self, config: GatewayConfig, bus: Bus, sessions: Sessions) -> None:
        self._config, self._bus, self._sessions = config, bus, sessions
        self._ears: dict[str, list[Ear]] = {}
        sessions.on_change(self._changed)
        bus.hear(_KIND, self._mute)
        bus.on_gap(self._changed_all)

    async def relay(self, call: CallContext, peer: Peer, session: OwnSession, receive: Receive, send: Send) -> None:
        """Until the client leaves, the session ends, or the stream is too old. Raises ClientGoneError."""
        age = self._config.deadlines.stream
        call.watched.phase(age, receive, total=age)
        await answers.start_stream(call, send, [])
        ear = Ear(call.call_id_text.decode())
        self._ears.setdefault(session.name, []).append(ear)
        self._bus.tell(_KIND, {"session": session.name, "token": ear.token})
        try:
            while not (state := await self._sessions.state(session.name)).ended:
                ear.changed.clear()
                await self._until_changed(call, peer, session, state, ear)
        finally:
            ears = self._ears[session.name]
            ears.remove(ear)
            if not ears:
                del self._ears[session.name]
        await answers.send_event(call, b"", last=True)

    async def _until_changed(self, call: CallContext, peer: Peer, session: OwnSession, state: State, ear: Ear) -> None:
        wanted = requests.filter_of(session, state.subscriptions)
        if ear.muted or not wanted:
            await ear.changed.wait()
            return
        hearing = asyncio.create_task(self._hear(call, peer, session, state, wanted))
        changing = asyncio.create_task(ear.changed.wait())
        try:
            await asyncio.wait({hearing, changing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (hearing, changing):
                task.cancel()
            await asyncio.gather(hearing, changing, return_exceptions=True)
        if not ear.changed.is_set():
            # The server has nothing to tell, for good; the stream stays for what may change here.
            await ear.changed.wait()

    async def _hear(
        self, call: CallContext, peer: Peer, session: OwnSession, state: State, wanted: dict[str, Any]
    ) -> None:
        """Ask again whenever the server ends; return when it does not know how to be listened to."""
        meta = requests.meta_of(session, state.level, {})
        ask = Ask(call.call_id_text.decode(), "subscriptions/listen", {"notifications": wanted, "_meta": meta})
        loop, attempt = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            with contextlib.suppress(MarketplaceError, UpstreamBrokenError):
                if not await self._pass_on(call, peer, ask):
                    return
            attempt = 0 if loop.time() - began > _WORTH_S else attempt + 1
            await asyncio.sleep(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])

    async def _pass_on(self, call: CallContext, peer: Peer, ask: Ask) -> bool:
        """False when the server does not know the request."""
        async with contextlib.aclosing(peer.ask(call, ask)) as messages:
            async for message in messages:
                if sse.is_answer(message):
                    error = message.get("error")
                    return not isinstance(error, dict) or error.get("code") != errors.METHOD_NOT_FOUND
                if message.get("method") != "notifications/subscriptions/acknowledged":
                    plain = requests.without_subscription(message)
                    await answers.send_event(call, sse.event(lossless.dumps(plain)))
        return True

    def _mute(self, body: dict[str, Any]) -> None:
        """A later stream of the session has been opened, here or elsewhere."""
        for ear in self._ears.get(body["session"], ()):
            ear.muted = ear.token != body["token"]
            ear.changed.set()

    def _changed(self, session: str) -> None:
        for ear in self._ears.get(session, ()):
            ear.changed.set()

    def _changed_all(self) -> None:
        for session in tuple(self._ears):
            self._changed(session)
