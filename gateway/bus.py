"""Closed: a question to another process that is not answered is an error, soon and by name.

Some things live in one gateway process only: a held stream, a session of the old transport, a question to a client that waits
for its answer. Whoever needs them from another process asks here. Every process has a name of its own and listens on a channel
of Valkey; a question brings a stream of replies and an end. What concerns all processes is told on a common channel.

Messages are sealed for their channel with a key from the master secret, because arguments of calls pass. Nothing is stored and
nothing sent again: after a gap in the connection every exchange under way fails, and those who keep copies are told to forget.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from typing import Any

import redis.asyncio as redis
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from core.errors import UnavailableError
from gateway import valkey
from gateway.mcp import lossless
from gateway.mcp.errors import KINDS, RefusedError

log = logging.getLogger(__name__)

Json = dict[str, Any]
Handler = Callable[[Json], AsyncGenerator[Json, None]]
Listener = Callable[[Json], None]

PREFIX = "gateway:v1:bus:"
_EVERYBODY = PREFIX + "all"
_HEARTBEAT = "gateway:v1:process:"
HEARTBEAT_S = 3.0
_HEARTBEAT_TTL_S = 10
# No call waits longer than this for Valkey; after a failure nobody waits for a second.
COMMAND_S = 0.2
_PAUSE_S = 1.0
_BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_PING_S = 1.0
_SILENCE_S = 3.0
_QUEUE = 256
_MAX_EXCHANGES = 10_000
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_NONCE = 12


class BusAwayError(UnavailableError):
    code = "gateway.bus_away"
    default_message = "Gateway processes cannot reach one another right now."


class ProcessGoneError(UnavailableError):
    code = "gateway.process_gone"
    default_message = "The gateway process that held this has ended."


class Bus:
    def __init__(self, redis_url: str, key: bytes) -> None:
        self.process = secrets.token_hex(8)
        self._redis_url = redis_url
        self._cipher = AESGCM(hmac.new(key, b"gateway/bus", hashlib.sha256).digest())
        self._handlers: dict[str, Handler] = {}
        self._listeners: dict[str, Listener] = {}
        self._gap_listeners: list[Callable[[], None]] = []
        self._asked: dict[str, asyncio.Queue[Json]] = {}
        self._served: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._numbers = itertools.count()
        self._connected = False
        self._stopping = False
        self._away_until = 0.0

    # What a process sets up

    def serve(self, kind: str, handler: Handler) -> None:
        """Answer questions of this kind. What the handler raises reaches the asker; closing it means that nobody waits."""
        self._handlers[kind] = handler

    def hear(self, kind: str, listener: Listener) -> None:
        """Be told what is told to everybody."""
        self._listeners[kind] = listener

    def on_gap(self, listener: Callable[[], None]) -> None:
        """Be called when something that was told may have been missed."""
        self._gap_listeners.append(listener)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = redis.from_url(
            self._redis_url,
            socket_connect_timeout=COMMAND_S,
            socket_timeout=COMMAND_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=64,
        )
        self._tasks = [asyncio.create_task(self._listen_forever()), asyncio.create_task(self._beat_forever())]

    async def stop(self) -> None:
        self._stopping = True
        await valkey.end([*self._tasks, *self._served.values(), *self._background])
        if self._tasks:
            with contextlib.suppress(Exception):
                await self.command("DEL", _HEARTBEAT + self.process)
            await valkey.close(self._client)

    @property
    def is_connected(self) -> bool:
        return self._connected

    # What it is used for

    async def ask(self, process: str, kind: str, body: Json) -> AsyncGenerator[Json, None]:
        """The replies of one process, as they come. Closing the generator ends the other side's work.

        Raises BusAwayError, ProcessGoneError, or the RefusedError that the handler raised.
        """
        if process == self.process:
            async with contextlib.aclosing(self._handler(kind)(body)) as replies:
                async for reply in replies:
                    yield reply
            return
        if not self._connected or len(self._asked) >= _MAX_EXCHANGES:
            raise BusAwayError
        exchange = f"{self.process}-{next(self._numbers)}"
        queue = self._asked[exchange] = asyncio.Queue(_QUEUE)
        finished = False
        try:
            await self._send(process, {"t": "ask", "id": exchange, "kind": kind, "body": body})
            while True:
                message = await self._next(process, queue)
                if message["t"] == "reply":
                    yield message["body"]
                    continue
                finished = True
                if message["t"] == "fail":
                    raise _failure(message)
                return
        finally:
            del self._asked[exchange]
            if not finished:
                self._send_later(process, {"t": "drop", "id": exchange})

    def tell(self, kind: str, body: Json) -> None:
        """Tell every process, this one first; nobody waits for it, and a process that is away misses it."""
        self._heard(kind, body)
        self._send_later("all", {"t": "tell", "kind": kind, "body": body})

    async def command(self, *words: str | bytes | int) -> Any:
        """One command for Valkey, within `COMMAND_S`. Raises BusAwayError."""
        if self._loop.time() < self._away_until:
            raise BusAwayError
        try:
            async with asyncio.timeout(COMMAND_S):
                return await self._client.execute_command(*words)
        except (redis.RedisError, OSError, TimeoutError) as exc:
            self._away_until = self._loop.time() + _PAUSE_S
            raise BusAwayError from exc

    # How messages travel

    async def _send(self, process: str, message: Json) -> None:
        """Raises BusAwayError or ProcessGoneError."""
        channel = PREFIX + process
        text = lossless.dumps({**message, "from": self.process})
        if len(text) > _MAX_MESSAGE_BYTES:
            raise BusAwayError("The message is larger than gateway processes exchange.")
        nonce = secrets.token_bytes(_NONCE)
        listeners = await self.command("PUBLISH", channel, nonce + self._cipher.encrypt(nonce, text, channel.encode()))
        if not listeners and process != "all":
            raise ProcessGoneError

    async def _next(self, process: str, queue: asyncio.Queue[Json]) -> Json:
        """The next message of an exchange. While there is none, the other process is looked after."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    return await queue.get()
            with contextlib.suppress(BusAwayError):
                if not await self.command("EXISTS", _HEARTBEAT + process):
                    raise ProcessGoneError

    def _take(self, channel: str, data: bytes) -> None:
        try:
            message = lossless.loads(self._cipher.decrypt(data[:_NONCE], data[_NONCE:], channel.encode()))
        except (InvalidTag, ValueError):
            log.warning("message on the bus not understood")
            return
        match message["t"]:
            case "tell":
                if message["from"] != self.process:
                    self._heard(message["kind"], message["body"])
            case "ask":
                self._begin(message)
            case "drop":
                if (task := self._served.get((message["from"], message["id"]))) is not None:
                    task.cancel()
            case _:
                self._answered(message)

    def _answered(self, message: Json) -> None:
        queue = self._asked.get(message["id"])
        if queue is None:
            return
        if queue.full():
            # Whoever asked does not keep up: the exchange ends rather than that memory grows.
            queue.get_nowait()
            message = {"t": "fail", "code": BusAwayError.code}
        queue.put_nowait(message)

    def _heard(self, kind: str, body: Json) -> None:
        listener = self._listeners.get(kind)
        if listener is None:
            return
        try:
            listener(body)
        except Exception:
            log.exception("a listener on the bus failed", extra={"kind": kind})

    def _begin(self, message: Json) -> None:
        key = (message["from"], message["id"])
        if len(self._served) >= _MAX_EXCHANGES:
            return
        task = self._served[key] = asyncio.create_task(self._answer(*key, message["kind"], message["body"]))
        task.add_done_callback(lambda _: self._served.pop(key, None))

    async def _answer(self, asker: str, exchange: str, kind: str, body: Json) -> None:
        """Serve one question of another process."""
        try:
            async with contextlib.aclosing(self._handler(kind)(body)) as replies:
                async for reply in replies:
                    await self._send(asker, {"t": "reply", "id": exchange, "body": reply})
            end: Json = {"t": "end", "id": exchange}
        except (BusAwayError, ProcessGoneError) as exc:
            log.info("nobody waits for an answer on the bus: %s", type(exc).__name__)
            return
        except Exception as exc:  # noqa: BLE001 - whatever it is, the asker is told
            end = {"t": "fail", "id": exchange, **_told(exc)}
        await self._send_anyway(asker, end)

    def _handler(self, kind: str) -> Handler:
        handler = self._handlers.get(kind)
        if handler is None:
            raise ProcessGoneError("That process does not answer such questions.")
        return handler

    def _send_later(self, process: str, message: Json) -> None:
        """Nobody waits for it, and a failure is nobody's."""
        task = asyncio.create_task(self._send_anyway(process, message))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _send_anyway(self, process: str, message: Json) -> None:
        with contextlib.suppress(BusAwayError, ProcessGoneError):
            await self._send(process, message)

    # How the connection is kept

    async def _beat_forever(self) -> None:
        while not self._stopping:
            with contextlib.suppress(BusAwayError):
                await self.command("SET", _HEARTBEAT + self.process, "1", "EX", _HEARTBEAT_TTL_S)
            await asyncio.sleep(HEARTBEAT_S)

    async def _listen_forever(self) -> None:
        attempt = 0
        while not self._stopping:
            try:
                await self._listen()
            except (redis.RedisError, OSError, TimeoutError) as exc:
                log.warning("the bus is away: %s", type(exc).__name__)
            finally:
                attempt = 0 if self._connected else attempt + 1
                self._connected = False
                self._fail_all()
            await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])

    async def _listen(self) -> None:
        client = redis.from_url(self._redis_url, socket_connect_timeout=2, socket_timeout=5)
        try:
            async with client.pubsub() as pubsub:
                # Connections of before the gap are as dead as the one that was just replaced.
                await self._client.connection_pool.disconnect(inuse_connections=False)
                await pubsub.subscribe(PREFIX + self.process, _EVERYBODY)
                await self._receive(pubsub)
        finally:
            await valkey.close(client)

    async def _receive(self, pubsub: Any) -> None:
        heard, subscribed = self._loop.time(), 0
        while True:
            message = await pubsub.get_message(timeout=_PING_S)
            now = self._loop.time()
            if message is None:
                if now - heard > _SILENCE_S:
                    raise TimeoutError("no answer to a ping")
                await pubsub.ping()
                continue
            heard = now
            if message["type"] == "message":
                self._take(message["channel"].decode(), message["data"])
            elif message["type"] == "subscribe":
                subscribed += 1
                if subscribed == 2:
                    self._connect()

    def _connect(self) -> None:
        self._connected = True
        self._away_until = 0.0
        for listener in self._gap_listeners:
            listener()

    def _fail_all(self) -> None:
        """Replies may have been lost: no exchange goes on as if nothing had happened."""
        for queue in self._asked.values():
            while queue.full():
                queue.get_nowait()
            queue.put_nowait({"t": "fail", "code": BusAwayError.code})
        for task in self._served.values():
            task.cancel()


def _told(exc: Exception) -> Json:
    if isinstance(exc, RefusedError):
        return {"code": exc.kind.code, "message": exc.message, "detail": exc.detail}
    if isinstance(exc, ProcessGoneError):
        return {"code": ProcessGoneError.code}
    log.warning("a handler on the bus failed: %s", type(exc).__name__, exc_info=exc)
    return {"code": "gateway.internal", "message": "", "detail": type(exc).__name__}


def _failure(message: Json) -> Exception:
    code = message["code"]
    if code == BusAwayError.code:
        return BusAwayError()
    if code in KINDS:
        return RefusedError(code, message["message"], detail=message["detail"])
    return ProcessGoneError()
