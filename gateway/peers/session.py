"""One `initialize` session with a server: its requests under way, and whom each of its messages is for.

How the messages travel is the link's business (`streamable`, `http_sse`). Answers are told apart by their id, progress by its
token. What names no request (log messages, requests of the server) belongs to the request on whose stream it came, else to the
only one there is: a session that may be asked something serves one request at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from gateway.context import CallContext
from gateway.mcp import errors, lossless
from gateway.mcp.errors import RefusedError
from gateway.peers import Ask, Json, translate
from gateway.peers.exchange import Exchange
from gateway.upstream.http1 import UpstreamBrokenError

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_CLIENT = {"name": "mcp-marketplace", "version": "0.1.0"}
_FAREWELL_S = 2.0


class SessionLostError(Exception):
    """The server does not know the session any more, and therefore did nothing."""


class Link(Protocol):
    async def start(self, session: Session, call: CallContext, hello: bytes) -> Json:
        """Send `initialize`; its answer. Raises NotLegacyError when the server has no ear for it, UpstreamBrokenError."""

    async def listen(self, session: Session, call: CallContext) -> bool:
        """Hear what the server says outside of answers; false when it never does."""

    async def ask(self, session: Session, exchange: Exchange, body: bytes) -> None:
        """Send a request and hand over what comes, up to its answer. Raises SessionLostError, UpstreamBrokenError."""

    async def tell(self, call: CallContext, body: bytes) -> None:
        """Send what has no answer. Raises SessionLostError, UpstreamBrokenError."""

    async def end(self, call: CallContext) -> None:
        """Give the session back."""


class Session:
    def __init__(self, link: Link, capabilities: Json, spawn: Callable[[Any], asyncio.Task[Any]]) -> None:
        self.link, self.capabilities = link, capabilities
        self.welcome: Json = {}
        self.lost = False
        self.spoilt = False  # to be used by nobody else
        self.users = 0
        self.idle_since = 0.0
        self.hears = False
        self.call: CallContext | None = None  # the latest: under whose credential the session is given back
        self.listeners: set[Exchange] = set()
        self._spawn = spawn
        self._level = ""
        self._number = 0
        self._open: dict[int, Exchange] = {}
        self._notes: set[asyncio.Task[None]] = set()  # on their way

    @property
    def server_info(self) -> Any:
        return self.welcome.get("serverInfo")

    @property
    def offers(self) -> Json:
        """The server's capabilities."""
        offered = self.welcome.get("capabilities")
        return offered if isinstance(offered, dict) else {}

    async def open(self, call: CallContext, client: Any, *, hearing: bool) -> None:
        """Shake hands. Raises what the link raises, and RefusedError for a handshake that cannot be accepted."""
        self.call = call
        hello = {
            "protocolVersion": VERSIONS[0],
            "capabilities": self.capabilities,
            "clientInfo": client if isinstance(client, dict) else _CLIENT,
        }
        answer = await self.link.start(self, call, _request(0, "initialize", hello))
        welcome = answer.get("result")
        if not isinstance(welcome, dict) or welcome.get("protocolVersion") not in VERSIONS:
            raise RefusedError("upstream.failed", detail="the server refused the handshake")
        self.welcome = welcome
        await self.link.tell(call, _notification("notifications/initialized", {}))
        if hearing:
            self.hears = await self.link.listen(self, call)

    def start(self, call: CallContext, request: Ask) -> Exchange:
        """Send a request; what comes of it is to be read from the exchange."""
        self._number += 1
        exchange = Exchange(call, self._number, request.method, request.params)
        self.call = call
        self._open[exchange.number] = exchange
        params = translate.params_for_session(request.params, exchange.number)
        body = _request(exchange.number, request.method, params)
        exchange.runner = self._spawn(self._run(exchange, body))
        return exchange

    async def request(self, call: CallContext, method: str, params: Json) -> Json:
        """Ask something on our own behalf; the answer."""
        exchange = self.start(call, Ask(None, method, params))
        try:
            while "method" in (message := await exchange.get()):
                pass
            return message
        finally:
            self.finish(exchange)

    async def set_level(self, call: CallContext, level: str) -> None:
        """Have the server send log messages from this level on."""
        if level and level != self._level and "logging" in self.offers:
            await self.request(call, "logging/setLevel", {"level": level})
            self._level = level

    def finish(self, exchange: Exchange) -> None:
        """The exchange is over, one way or the other."""
        self._open.pop(exchange.number, None)
        exchange.close()

    def cancel(self, exchange: Exchange) -> None:
        """Nobody waits for the answer any more: the server is told."""
        if self._open.pop(exchange.number, None) is not None and not exchange.answered:
            note = {"requestId": exchange.number, "reason": "The caller left."}
            self._say(exchange.call, _notification("notifications/cancelled", note))
        exchange.close()

    async def respond(self, exchange: Exchange, request: Json, result: Any) -> None:
        """Answer a request of the server."""
        await self.link.tell(exchange.call, lossless.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))

    async def close(self) -> None:
        """End the session at the server, as well as can be."""
        self.fail(UpstreamBrokenError("the session was closed"))
        if self._notes:
            await asyncio.wait(self._notes, timeout=_FAREWELL_S)  # what is said last finds the session still there
        if self.call is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_FAREWELL_S):
                    await self.link.end(self.call)

    def fail(self, error: Exception) -> None:
        """The session is of no use any more."""
        self.lost = True
        for exchange in (*self._open.values(), *self.listeners):
            self._spawn(exchange.put(error))
        self._open.clear()
        self.listeners.clear()

    async def receive(self, message: Json, origin: Exchange | None) -> None:
        """Hand a message to whom it is for. `origin` is the exchange on whose stream it came."""
        method = message.get("method")
        if method is None:
            await self._answered(message)
        elif "id" in message:
            await self._asked(message, origin or self._only())
        elif method == "notifications/progress":
            await self._progressed(message)
        elif method == "notifications/message":
            exchange = origin or self._only()
            if exchange is not None:
                await exchange.put(message)
        elif method == "notifications/cancelled":
            self._withdraw(message)
        else:
            for listener in tuple(self.listeners):
                await listener.put(message)

    async def _answered(self, message: Json) -> None:
        number = message.get("id")
        exchange = self._open.get(number) if type(number) is int else None
        if exchange is not None:
            exchange.answered = True
            await exchange.put(message)

    async def _progressed(self, message: Json) -> None:
        params = message.get("params")
        token = params.get("progressToken") if isinstance(params, dict) else None
        exchange = self._open.get(token) if type(token) is int else None
        if exchange is not None:
            await exchange.put(message)

    async def _asked(self, message: Json, exchange: Exchange | None) -> None:
        if message["method"] == "ping":
            self._reply(message, {"result": {}}, exchange)
        elif (
            exchange is not None
            and exchange.method in translate.ASKING
            and translate.can_be_asked(self.capabilities, message)
        ):
            await exchange.put(message)
        else:
            text = "The client cannot be asked this."
            self._reply(message, {"error": {"code": errors.METHOD_NOT_FOUND, "message": text}}, exchange)

    def _reply(self, message: Json, outcome: Json, exchange: Exchange | None) -> None:
        call = exchange.call if exchange is not None else self.call
        if call is not None:
            self._say(call, lossless.dumps({"jsonrpc": "2.0", "id": message["id"], **outcome}))

    def _withdraw(self, message: Json) -> None:
        """The server does not need its question answered any more."""
        params = message.get("params")
        request_id = params.get("requestId") if isinstance(params, dict) else None
        for exchange in self._open.values():
            for key in [key for key, asked in exchange.pending.items() if asked["id"] == request_id]:
                del exchange.pending[key]

    def _only(self) -> Exchange | None:
        return next(iter(self._open.values())) if len(self._open) == 1 else None

    async def _run(self, exchange: Exchange, body: bytes) -> None:
        try:
            await self.link.ask(self, exchange, body)
        except SessionLostError as exc:
            self.lost = True
            await exchange.put(exc)
        except Exception as exc:  # noqa: BLE001 - told to whoever reads the exchange
            await exchange.put(exc)

    def _say(self, call: CallContext, body: bytes) -> None:
        """Send what nobody waits for."""
        task = self._spawn(self._tell(call, body))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _tell(self, call: CallContext, body: bytes) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_FAREWELL_S):
                await self.link.tell(call, body)


def _request(number: int, method: str, params: Json) -> bytes:
    return lossless.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def _notification(method: str, params: Json) -> bytes:
    return lossless.dumps({"jsonrpc": "2.0", "method": method, "params": params})
