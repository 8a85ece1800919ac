"""Closed: what cannot be said in the client's revision is refused, and nothing is asked of a client that did not offer it.

A server of the handshake revisions (2024-11-05 to 2025-11-25) asked in modern terms: pooled sessions, answers completed with what
the modern revision needs, questions of the server turned into rounds, subscriptions into sessions that listen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from core.errors import MarketplaceError
from gateway.bus import Bus, ProcessGoneError
from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.mcp.errors import RefusedError
from gateway.peers import Ask, Json, translate
from gateway.peers.eras import Eras
from gateway.peers.exchange import Exchange
from gateway.peers.http_sse import HttpSseLink
from gateway.peers.pool import SessionPool, owner_of
from gateway.peers.rounds import AFRESH, Holds, Place, StateSeal, invalid_state
from gateway.peers.session import Session, SessionLostError
from gateway.peers.streamable import NotLegacyError, StreamableLink
from gateway.upstream import attempts
from gateway.upstream.client import Upstreams
from gateway.upstream.http1 import UpstreamBrokenError

# Questions that a server asks at the same time are asked of the client in one round.
_TOGETHER_S = 0.02
_CLOSING_S = 3.0
_MAX_ROUNDS = 20


_RESUME = "legacy.resume"


@dataclass(slots=True)
class Held:
    """A call that waits at the server for what the client has been asked."""

    session: Session
    exchange: Exchange


class LegacyPeer:
    def __init__(self, config: GatewayConfig, upstreams: Upstreams, eras: Eras, bus: Bus) -> None:
        self._config, self._upstreams, self._eras, self._bus = config, upstreams, eras, bus
        bus.serve(_RESUME, self._resume_for_another)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pool = SessionPool(self._open, self._spawn)
        self._seal = StateSeal(config.session_key)
        self._holds: Holds[Held] = Holds(self._drop)

    async def ask(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        """As `Peer.ask`. Raises NotLegacyError too, before anything was yielded."""
        call.ask_upstream()
        is_endless = request.method == "subscriptions/listen"
        idle = self._config.deadlines.stream if is_endless else self._config.deadlines.idle
        try:
            async with contextlib.aclosing(self._dispatch(call, request)) as messages:
                async for message in messages:
                    call.watched.extend(idle)
                    call.note_upstream()
                    yield message
        finally:
            call.note_upstream()

    async def opens(self, call: CallContext, request: Ask) -> bool:
        """Whether the server of the call can be spoken to by handshake; a session is open then."""
        call.ask_upstream()
        try:
            self._pool.release(await self._pool.lease(call, request))
        except (NotLegacyError, SessionLostError, UpstreamBrokenError, MarketplaceError):
            return False
        finally:
            call.note_upstream()
        return True

    def reap(self) -> None:
        """Housekeeping: end what is idle or was not come back for."""
        self._pool.reap()
        self._holds.reap()

    async def close(self) -> None:
        self._holds.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                await self._pool.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _dispatch(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        if "requestState" in request.params:
            return self._resume(call, request)
        if request.method == "server/discover":
            return self._describe(call, request)
        if request.method == "subscriptions/listen":
            return self._listen(call, request)
        return self._converse(call, request)

    async def _describe(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        session = await self._pool.lease(call, request)
        self._pool.release(session)
        call.upstream_protocol = str(session.welcome.get("protocolVersion", ""))
        call.status = 200
        result = translate.description_of(session.welcome)
        yield {"jsonrpc": "2.0", "id": request.request_id, "result": result}

    async def _converse(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        session, exchange, first = await self._begin(call, request)
        async with contextlib.aclosing(self._follow(session, exchange, request, first)) as messages:
            async for message in messages:
                yield message

    async def _begin(self, call: CallContext, request: Ask) -> tuple[Session, Exchange, Json]:
        """Send the request in a session, and once more where that is safe; what the server says first."""
        is_last = False
        while True:
            try:
                return await self._attempt(call, request)
            except SessionLostError as exc:
                # The server did nothing with the request.
                if is_last:
                    raise UpstreamBrokenError("the server does not keep its sessions") from exc
            except (UpstreamBrokenError, RefusedError) as exc:
                if is_last or not await attempts.again(call, exc):
                    raise
            is_last = True

    async def _attempt(self, call: CallContext, request: Ask) -> tuple[Session, Exchange, Json]:
        try:
            session = await self._pool.lease(call, request)
        except UpstreamBrokenError as exc:
            exc.sent = False  # the handshake broke off: the request itself has not left
            raise
        call.upstream_protocol = str(session.welcome.get("protocolVersion", ""))
        call.attempts += 1
        exchange: Exchange | None = None
        try:
            await self._set_level(session, call, request)
            exchange = session.start(call, request)
            return session, exchange, await self._first(session, exchange)
        except SessionLostError:
            self._pool.release(session)
            raise
        except BaseException:
            self._give_up(session, exchange)
            raise

    async def _set_level(self, session: Session, call: CallContext, request: Ask) -> None:
        if level := translate.log_level_of(request.params):
            await session.set_level(call, level)

    @staticmethod
    async def _first(session: Session, exchange: Exchange) -> Json:
        try:
            return await exchange.get()
        except SessionLostError:
            session.finish(exchange)
            raise

    async def _follow(
        self, session: Session, exchange: Exchange, request: Ask, first: Json | None
    ) -> AsyncGenerator[Json, None]:
        """What the client is told, up to an answer; then the session is free, or the exchange is held for another round."""
        is_settled = False
        try:
            while True:
                message = first if first is not None else await self._next(exchange)
                first = None
                if message is None:
                    answer = self._ask_client(session, exchange, request)
                elif "method" not in message:
                    session.finish(exchange)
                    self._pool.release(session)
                    answer = self._answer(session, exchange, message, request)
                elif "id" in message:
                    exchange.rounds += 1
                    exchange.pending[f"question-{exchange.rounds}"] = message
                    continue
                else:
                    note = _note_for(message, request)
                    if note is not None:
                        yield note
                    continue
                is_settled = True
                yield answer
                return
        finally:
            if not is_settled:
                self._give_up(session, exchange)

    @staticmethod
    async def _next(exchange: Exchange) -> Json | None:
        """What the server says next; None when it waits for what it has asked."""
        if not exchange.pending:
            return await exchange.get()
        return await exchange.get_soon(_TOGETHER_S)

    def _answer(self, session: Session, exchange: Exchange, message: Json, request: Ask) -> Json:
        info = session.server_info
        visits = translate.visits_of(message, session.capabilities) if request.method in translate.ASKING else {}
        if not visits:
            return translate.answer_of(message, request.request_id, request.method, request.params, info)
        # Nothing is held: when the user has been there, the request is asked afresh.
        state = self._seal.seal(AFRESH, owner_of(exchange.call), request)
        return translate.input_required(request.request_id, visits, state, info)

    def _ask_client(self, session: Session, exchange: Exchange, request: Ask) -> Json:
        if exchange.rounds > _MAX_ROUNDS:
            raise RefusedError("upstream.failed", detail="the server asks without end")
        owner = owner_of(exchange.call)
        held_id = self._holds.put(owner, Held(session, exchange))
        state = self._seal.seal(Place(self._bus.process, held_id), owner, request)
        return translate.input_required(request.request_id, exchange.pending, state, session.server_info)

    async def _resume(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        owner = owner_of(call)
        place = self._seal.unseal(request.params["requestState"], owner, request)
        if place == AFRESH:
            async with contextlib.aclosing(self._converse(call, request)) as messages:
                async for message in messages:
                    yield message
            return
        call.attempts += 1
        messages = (
            self._go_on(owner, place.held_id, request, call)
            if place.process == self._bus.process
            else self._go_on_elsewhere(owner, place, request)
        )
        async with contextlib.aclosing(messages):
            async for message in messages:
                yield message

    async def _go_on_elsewhere(self, owner: str, place: Place, request: Ask) -> AsyncGenerator[Json, None]:
        """Have the process that holds the call go on with it."""
        body = {
            "owner": owner,
            "held": place.held_id,
            "id": request.request_id,
            "method": request.method,
            "params": request.params,
        }
        try:
            async with contextlib.aclosing(self._bus.ask(place.process, _RESUME, body)) as messages:
                async for message in messages:
                    yield message
        except ProcessGoneError as exc:
            raise invalid_state() from exc
        except RefusedError as exc:
            raise (invalid_state() if exc.kind.code == "gateway.request_state_invalid" else exc) from exc

    async def _resume_for_another(self, body: Json) -> AsyncGenerator[Json, None]:
        request = Ask(body["id"], body["method"], body["params"])
        async with contextlib.aclosing(self._go_on(body["owner"], body["held"], request, None)) as messages:
            async for message in messages:
                yield message

    async def _go_on(
        self, owner: str, held_id: str, request: Ask, call: CallContext | None
    ) -> AsyncGenerator[Json, None]:
        """Give the server what its client answered, and follow the call on. `call` is None when another process has it."""
        held = self._holds.take(owner, held_id)
        if held is None:
            raise invalid_state()
        session, exchange = held.session, held.exchange
        call = exchange.call = call or exchange.call
        call.upstream_protocol = str(session.welcome.get("protocolVersion", ""))
        given = request.params.get("inputResponses")
        try:
            await self._set_level(session, call, request)
            for key, asked in list(exchange.pending.items()):
                if isinstance(given, dict) and key in given:
                    del exchange.pending[key]
                    await session.respond(exchange, asked, given[key])
        except BaseException:
            self._give_up(session, exchange)
            raise
        async with contextlib.aclosing(self._follow(session, exchange, request, None)) as messages:
            async for message in messages:
                yield message

    async def _listen(self, call: CallContext, request: Ask) -> AsyncGenerator[Json, None]:
        session = await self._pool.lease(call, request)
        call.upstream_protocol = str(session.welcome.get("protocolVersion", ""))
        call.attempts += 1
        call.status = 200
        exchange = Exchange(call, -1, request.method, request.params)
        wanted, uris = _honoured(session, request.params.get("notifications"))
        session.listeners.add(exchange)
        self._pool.listen(session)
        try:
            uris = [uri for uri in uris if "result" in await session.request(call, "resources/subscribe", {"uri": uri})]
            honoured: Json = dict.fromkeys(wanted.values(), True) | ({"resourceSubscriptions": uris} if uris else {})
            yield _on_stream("notifications/subscriptions/acknowledged", {"notifications": honoured}, request)
            while honoured:
                message = await exchange.get()
                if message["method"] in wanted or _is_about(message, uris):
                    yield translate.with_subscription(message, request.request_id)
            # The server tells nothing on its own: there is nothing to wait for.
            yield translate.farewell(request.request_id, session.server_info)
        finally:
            session.listeners.discard(exchange)
            exchange.close()
            self._pool.unlisten(session)

    def _give_up(self, session: Session, exchange: Exchange | None) -> None:
        """The caller left, or the call failed: the server is told, and what it still says reaches nobody else."""
        if exchange is not None:
            session.cancel(exchange)
        if self._pool.is_alone(session):
            session.spoilt = True
        self._pool.release(session)

    def _drop(self, held: Held) -> None:
        self._give_up(held.session, held.exchange)

    async def _open(self, call: CallContext, capabilities: Json, client: Any, hearing: bool) -> Session:
        assert call.server is not None
        url = call.url
        if not self._eras.of(call.server).http_sse:
            session = Session(
                StreamableLink(self._config, self._upstreams, url, self._spawn), capabilities, self._spawn
            )
            try:
                await session.open(call, client, hearing=hearing)
            except NotLegacyError as exc:
                status = exc.status
            else:
                self._eras.learn(call.server, legacy=True)
                return session
            if status not in {400, 404, 405}:
                raise NotLegacyError(status)
        session = Session(HttpSseLink(self._config, self._upstreams, url, self._spawn), capabilities, self._spawn)
        await session.open(call, client, hearing=hearing)
        self._eras.learn(call.server, http_sse=True)
        return session

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


_FLAGS = {
    "toolsListChanged": ("tools", "notifications/tools/list_changed"),
    "promptsListChanged": ("prompts", "notifications/prompts/list_changed"),
    "resourcesListChanged": ("resources", "notifications/resources/list_changed"),
}


def _honoured(session: Session, asked: Any) -> tuple[dict[str, str], list[str]]:
    """Of what a client wants to hear: the methods that the server sends, each with its flag, and the resources it watches."""
    if not isinstance(asked, dict) or not session.hears:
        return {}, []
    wanted = {
        method: flag
        for flag, (kind, method) in _FLAGS.items()
        if asked.get(flag) is True and _offers(session, kind, "listChanged")
    }
    uris = asked.get("resourceSubscriptions")
    if not isinstance(uris, list) or not _offers(session, "resources", "subscribe"):
        return wanted, []
    return wanted, [uri for uri in uris if isinstance(uri, str)]


def _offers(session: Session, kind: str, what: str) -> bool:
    offered = session.offers.get(kind)
    return isinstance(offered, dict) and offered.get(what) is True


def _is_about(message: Json, uris: list[str]) -> bool:
    params = message.get("params")
    uri = params.get("uri") if isinstance(params, dict) else None
    return message["method"] == "notifications/resources/updated" and uri in uris


def _on_stream(method: str, params: Json, request: Ask) -> Json:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    return translate.with_subscription(message, request.request_id)


def _note_for(message: Json, request: Ask) -> Json | None:
    """A notification of the server as this client gets it; None when it did not ask for it."""
    if message["method"] == "notifications/progress":
        token = translate.meta_of(request.params).get("progressToken")
        return translate.with_token(message, token) if token is not None else None
    return message if translate.is_wanted(message, translate.log_level_of(request.params)) else None
