"""Open: a server that cannot be listened to leaves a stream that says nothing, and is tried again.

The GET streams of our own sessions: `subscriptions/listen` at the server, with the lists that it tells changes of and the
resources that the session subscribed to. The server is asked anew when these change, wherever that was, and heard on the older
subscription until the newer one holds. A session may open several streams; each message goes out on one, the latest.
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

_KIND, _PRESENT, _HEARD = "listening", "listening.present", "listening.heard"
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
# What ended sooner than this was not worth asking for, and is asked for less often.
_WORTH_S = 30.0
# How long a subscription waits for word that a stream is open somewhere, and then that the server has been asked.
_PRESENCE_S, _HOLDING_S = 0.1, 2.0


class Ear:
    """One open GET stream."""

    __slots__ = ("asked", "changed", "muted", "token")

    def __init__(self, token: str) -> None:
        self.token = token
        self.changed = asyncio.Event()
        self.muted = False
        self.asked = 0  # how often the server was

    def next_id(self) -> str:
        """An id for the next subscription: the one before it may still be open."""
        self.asked += 1
        return f"{self.token}-{self.asked}"


class Hearing:
    """One subscription at the server, replaced as a whole when something else is wanted, and only then: what the server has
    said on it and nobody has read yet would be lost."""

    __slots__ = ("holds", "task", "wanted")

    def __init__(self, wanted: tuple[Any, ...]) -> None:
        self.wanted = wanted
        self.holds = asyncio.Event()  # it does, or it has ended
        self.task: asyncio.Task[None] | None = None

    def serves(self, wanted: tuple[Any, ...]) -> bool:
        """Whether this is what is wanted, and still asked for."""
        return self.wanted == wanted and self.task is not None and not self.task.done()

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


class Wait:
    """For word of a resource of a session: that a stream is open, that its subscription holds."""

    __slots__ = ("holds", "present")

    def __init__(self) -> None:
        self.present, self.holds = asyncio.Event(), asyncio.Event()


class Listening:
    def __init__(self, config: GatewayConfig, bus: Bus, sessions: Sessions) -> None:
        self._config, self._bus, self._sessions = config, bus, sessions
        self._ears: dict[str, list[Ear]] = {}
        self._waits: dict[str, dict[Wait, str]] = {}  # by session, each with its resource
        sessions.on_change(self._changed)
        bus.hear(_KIND, self._mute)
        bus.hear(_PRESENT, self._note_present)
        bus.hear(_HEARD, self._note_heard)
        bus.on_gap(self._changed_all)

    async def subscribe(self, session: str, uri: str) -> None:
        """Told of the resource from here on, if a stream of the session is open anywhere. Raises RefusedError."""
        wait = Wait()
        self._waits.setdefault(session, {})[wait] = uri
        try:
            await self._sessions.subscribe(session, uri)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wait.present.wait(), _PRESENCE_S)
                await asyncio.wait_for(wait.holds.wait(), _HOLDING_S)
        finally:
            waits = self._waits[session]
            del waits[wait]
            if not waits:
                del self._waits[session]

    async def relay(self, call: CallContext, peer: Peer, session: OwnSession, receive: Receive, send: Send) -> None:
        """Until the client leaves, the session ends, or the stream is too old. Raises ClientGoneError."""
        age = self._config.deadlines.stream
        call.watched.phase(age, receive, total=age)
        await answers.start_stream(call, send, [])
        ear = Ear(call.call_id_text.decode())
        self._ears.setdefault(session.name, []).append(ear)
        self._bus.tell(_KIND, {"session": session.name, "token": ear.token})
        hearing: Hearing | None = None
        try:
            while True:
                # Before the state is read: a change while it is on its way here is another round's.
                ear.changed.clear()
                if (state := await self._sessions.state(session.name)).ended:
                    break
                hearing = await self._follow(call, peer, session, state, ear, hearing)
                await ear.changed.wait()
        finally:
            if hearing is not None:
                await hearing.stop()
            ears = self._ears[session.name]
            ears.remove(ear)
            if not ears:
                del self._ears[session.name]
        await answers.send_event(call, b"", last=True)

    async def _follow(
        self, call: CallContext, peer: Peer, session: OwnSession, state: State, ear: Ear, earlier: Hearing | None
    ) -> Hearing | None:
        """Hear what is wanted now, and end what was heard before once that holds."""
        wanted = {} if ear.muted else requests.filter_of(session, state.subscriptions)
        hearing, subject = None, (wanted, state.level)
        if wanted and earlier is not None and earlier.serves(subject):
            hearing, earlier = earlier, None
        elif wanted:
            hearing = Hearing(subject)
            hearing.task = asyncio.create_task(self._hear(call, peer, session, state, wanted, ear, hearing.holds))
            hearing.task.add_done_callback(lambda _: hearing.holds.set())
        if hearing is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hearing.holds.wait(), _HOLDING_S)
        if earlier is not None:
            await earlier.stop()
        if not ear.muted:
            self._bus.tell(_HEARD, {"session": session.name, "uris": sorted(state.subscriptions)})
        return hearing

    async def _hear(
        self,
        call: CallContext,
        peer: Peer,
        session: OwnSession,
        state: State,
        wanted: dict[str, Any],
        ear: Ear,
        holds: asyncio.Event,
    ) -> None:
        """Ask again whenever the server ends; return when it does not know how to be listened to."""
        meta = requests.meta_of(session, state.level, {})
        loop, attempt = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            ask = Ask(ear.next_id(), "subscriptions/listen", {"notifications": wanted, "_meta": meta})
            with contextlib.suppress(MarketplaceError, UpstreamBrokenError):
                if not await self._pass_on(call, peer, ask, holds):
                    return
            attempt = 0 if loop.time() - began > _WORTH_S else attempt + 1
            await asyncio.sleep(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])

    async def _pass_on(self, call: CallContext, peer: Peer, ask: Ask, holds: asyncio.Event) -> bool:
        """False when the server does not know the request."""
        async with contextlib.aclosing(peer.ask(call, ask)) as messages:
            async for message in messages:
                if sse.is_answer(message):
                    error = message.get("error")
                    return not isinstance(error, dict) or error.get("code") != errors.METHOD_NOT_FOUND
                if message.get("method") == "notifications/subscriptions/acknowledged":
                    holds.set()
                else:
                    plain = requests.without_subscription(message)
                    await answers.send_event(call, sse.event(lossless.dumps(plain)))
        return True

    def _mute(self, body: dict[str, Any]) -> None:
        """A later stream of the session has been opened, here or elsewhere."""
        for ear in self._ears.get(body["session"], ()):
            ear.muted = ear.token != body["token"]
            ear.changed.set()

    def _changed(self, session: str) -> None:
        if session in self._ears:
            self._bus.tell(_PRESENT, {"session": session})
        for ear in self._ears.get(session, ()):
            ear.changed.set()

    def _note_present(self, body: dict[str, Any]) -> None:
        for wait in self._waits.get(body["session"], ()):
            wait.present.set()

    def _note_heard(self, body: dict[str, Any]) -> None:
        for wait, uri in self._waits.get(body["session"], {}).items():
            if uri in body["uris"]:
                wait.holds.set()

    def _changed_all(self) -> None:
        for session in tuple(self._ears):
            self._changed(session)
