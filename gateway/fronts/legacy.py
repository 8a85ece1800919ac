"""Closed: without a session there is no answer, and an answer leaves only after its row is committed.

A client of an initialize-era revision (2024-11-05 to 2025-11-25) in front of a peer, which is asked in modern terms. The gateway
answers `initialize` from what the server says of itself, mints the session, and keeps the client's side of it: log level,
subscriptions, the listening GET, questions to the client. Any process serves any session; see ADR 10.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from calls.writer import CallWriter
from gateway import answers
from gateway.answers import Send
from gateway.bus import Bus, BusAwayError
from gateway.config import GatewayConfig
from gateway.context import CallContext, session_owner
from gateway.fronts import requests
from gateway.fronts.listening import Listening
from gateway.fronts.questions import Questions
from gateway.fronts.rounds import Rounds
from gateway.fronts.running import Running
from gateway.fronts.sessions import Sessions, State
from gateway.fronts.stream import ClientStream
from gateway.mcp import lossless, outcomes, sse, versions
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import Shape
from gateway.mcp.session import OwnSession, SessionSeal, is_own
from gateway.peers import Ask, Json, Peer
from gateway.stages import lists, meter

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_LEVELS = frozenset({"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"})
# Requests of the modern revision only: inside a session of an older one nobody knows them.
_MODERN_ONLY = frozenset({"server/discover", "subscriptions/listen"})


class LegacyFront:
    def __init__(self, config: GatewayConfig, bus: Bus, writer: CallWriter, seal: SessionSeal) -> None:
        self._config, self._writer, self._seal = config, writer, seal
        self._sessions = Sessions(bus)
        self._listening = Listening(config, bus, self._sessions)
        self._questions = Questions(bus)
        self._running = Running(bus)
        self._rounds = Rounds(self._questions)
        self._local: dict[str, Callable[[CallContext, OwnSession], Awaitable[None]]] = {
            "ping": self._ping,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
        }

    def open(self, call: CallContext) -> None:
        """Note the session of our own that the request names, if it names one. Raises RefusedError for a foreign one."""
        sealed = call.headers.get(b"mcp-session-id", b"").strip()
        if not is_own(sealed):
            return
        session = call.session = self._seal.open(sealed, session_owner(call))
        if session is None:
            raise RefusedError("gateway.session_unknown")
        call.session_id = session.name
        version = call.headers.get(b"mcp-protocol-version", b"").strip().decode("latin-1")
        if version and version not in versions.LEGACY:
            raise RefusedError("gateway.request_invalid", "Bad Request: Unsupported protocol version.")
        call.protocol = session.version

    async def modernise(self, call: CallContext) -> None:
        """Turn the request into one of the modern revision before it is routed. Raises RefusedError without a session."""
        assert call.message is not None
        if call.message.method != "initialize":
            session, state = await self._live(call)
            requests.modernise(call, session, state.level)

    async def relay(self, call: CallContext, peer: Peer, send: Send) -> None:
        """Answer a request. Raises as `Peer.ask` does."""
        assert call.message is not None
        if call.message.method == "initialize":
            await self._initialize(call, peer, send)
            return
        session, state = await self._live(call)
        if call.message.method in _MODERN_ONLY:
            raise RefusedError("access.method_unknown")
        if (local := self._local.get(call.message.method)) is not None:
            await local(call, session)
            await self._answer(call, ClientStream(call, send), {"result": {}})
            return
        await self._bridge(call, peer, send, session, state)

    async def take(self, call: CallContext, send: Send) -> None:
        """A notification or a response of the client."""
        assert call.message is not None
        session, _ = await self._live(call)
        message = call.message
        if message.shape is Shape.RESPONSE:
            await self._respond(call, session)
        elif message.method == "notifications/cancelled":
            self._running.cancel(session.name, message.params.get("requestId"))
        await answers.send_bytes(call, send, 202, b"", [])

    async def listen(self, call: CallContext, peer: Peer, receive: Receive, send: Send) -> None:
        """The GET stream."""
        session, _ = await self._live(call)
        await self._listening.relay(call, peer, session, receive, send)

    async def end(self, call: CallContext, send: Send) -> None:
        """The DELETE."""
        session, _ = await self._live(call)
        await self._sessions.end(session.name)
        await answers.send_bytes(call, send, 200, b"", [])

    async def _live(self, call: CallContext) -> tuple[OwnSession, State]:
        if call.session is None:
            raise RefusedError("gateway.session_missing")
        state = await self._sessions.state(call.session.name)
        if state.ended:
            raise RefusedError("gateway.session_unknown")
        return call.session, state

    # What is answered here

    async def _initialize(self, call: CallContext, peer: Peer, send: Send) -> None:
        assert call.message is not None
        session = _opened(call.message.params)
        call.protocol = session.version
        requests.modernise(call, session, "")
        ask = Ask(call.request_id, "server/discover", {"_meta": call.message.params["_meta"]})
        deadlines = self._config.deadlines
        call.watched.phase(deadlines.first_byte, total=deadlines.total)
        answer = await _answer_of(call, peer, ask)
        stream = ClientStream(call, send)
        result = answer.get("result")
        if not isinstance(result, dict):
            await self._answer(call, stream, answer)
            return
        session = requests.with_features(session, result)
        try:
            sealed = self._seal.mint(session, session_owner(call))
        except ValueError as exc:
            raise RefusedError("gateway.params_invalid", "The client's capabilities are too large.") from exc
        self._sessions.begin(session.name)
        call.session_id = session.name
        welcome = {"result": requests.welcome(session, result, call.slug)}
        await self._answer(call, stream, welcome, [(b"mcp-session-id", sealed)])

    async def _ping(self, call: CallContext, session: OwnSession) -> None:
        """Both are alive."""

    async def _set_level(self, call: CallContext, session: OwnSession) -> None:
        assert call.message is not None
        level = call.message.params.get("level")
        if level not in _LEVELS:
            raise RefusedError("gateway.params_invalid", "`level` is not a log level.")
        await self._sessions.set_level(session.name, level)

    async def _subscribe(self, call: CallContext, session: OwnSession) -> None:
        await self._listening.subscribe(session.name, _uri_of(call, session))

    async def _unsubscribe(self, call: CallContext, session: OwnSession) -> None:
        await self._sessions.unsubscribe(session.name, _uri_of(call, session))

    async def _respond(self, call: CallContext, session: OwnSession) -> None:
        try:
            taken = await self._questions.answer(session.name, call.request_id, lossless.loads(call.body))
        except BusAwayError as exc:
            raise RefusedError("gateway.session_state_unavailable") from exc
        if not taken:
            raise RefusedError("gateway.request_invalid", "No question waits for this response.")

    # What is asked of the server

    async def _bridge(self, call: CallContext, peer: Peer, send: Send, session: OwnSession, state: State) -> None:
        deadlines = self._config.deadlines
        first_byte = (call.server.timeout_s if call.server is not None else None) or deadlines.first_byte
        call.watched.phase(first_byte, total=deadlines.total)
        requests.modernise(call, session, state.level)
        ask = requests.ask_of(call)
        with self._running.noting(session.name, call):
            async with ClientStream(call, send) as stream:
                answer = await self._rounds.run(call, peer, ask, session, stream, deadlines)
                await self._answer(call, stream, answer)

    async def _answer(
        self, call: CallContext, stream: ClientStream, answer: Json, more: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        message: Json = {"jsonrpc": "2.0", **answer, "id": call.request_id}
        if call.server is not None and lists.is_list(call):
            message = lists.narrow_message(call, message)
        outcomes.judge(call, message)
        call.watched.settle()
        call.status = 200
        data = lossless.dumps(message)
        if call.tasks is not None and call.task_state is not None:
            data = call.tasks.answer(call, data)
        call.response_bytes += len(data)
        await meter.commit(call, self._writer)
        await stream.answer(data, more)


async def _answer_of(call: CallContext, peer: Peer, ask: Ask) -> Json:
    """The answer alone. Raises RefusedError when there is none."""
    async with contextlib.aclosing(peer.ask(call, ask)) as messages:
        async for message in messages:
            if sse.is_answer(message):
                return message
    raise RefusedError("upstream.failed", detail=f"no answer to {ask.method}")


def _opened(params: Json) -> OwnSession:
    """The session that a client asks for. Raises RefusedError."""
    proposed, capabilities, client = (params.get(key) for key in ("protocolVersion", "capabilities", "clientInfo"))
    if not isinstance(proposed, str) or not isinstance(capabilities, dict) or not isinstance(client, dict):
        raise RefusedError(
            "gateway.params_invalid", "`initialize` needs `protocolVersion`, `capabilities` and `clientInfo`."
        )
    # Whoever proposes something else is told the newest revision that knows `initialize`, and may leave.
    version = proposed if proposed in versions.LEGACY else versions.NEWEST_LEGACY
    return OwnSession(secrets.token_urlsafe(16), version, capabilities, requests.short_client(client))


def _uri_of(call: CallContext, session: OwnSession) -> str:
    assert call.message is not None
    if requests.SUBSCRIBE not in session.features:
        raise RefusedError("access.method_unknown", "The server offers no subscriptions to resources.")
    uri = call.message.params.get("uri")
    if not isinstance(uri, str) or not uri:
        raise RefusedError("gateway.params_invalid", "`uri` is required.")
    return uri
