"""How a fake provider is served: on the loopback address only, and able to leave a caller without an answer."""

from __future__ import annotations

import abc
import argparse
import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from marketplace.testpayments import control
from marketplace.testpayments.deliveries import Postman
from marketplace.testpayments.store import Store
from marketplace.testpayments.wire import Answer, Receive, Request, Scope, Send, TooLargeBodyError, as_json, read, write

HOST = "127.0.0.1"
_TOO_LARGE = 413


class Protocol(HttpToolsProtocol):
    """Lets the application end a connection, which a fault asks for."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"drop": self.transport.abort}  # type: ignore[dict-item]


class Provider(abc.ABC):
    """The ASGI side that both fakes share: bodies, life time, dropped answers."""

    def __init__(self, store: Store, postman: Postman | None) -> None:
        self.store, self._postman = store, postman

    @abc.abstractmethod
    async def answer(self, request: Request) -> Answer:
        """What this provider says to a request. Raises DroppedError to say nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            try:
                await write(send, await self.answer(await read(scope, receive)))
            except TooLargeBodyError:
                await write(send, as_json(_TOO_LARGE, {"message": "The body is too large."}))
            except control.DroppedError:
                scope["extensions"]["drop"]()
                await receive()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        deliveries = asyncio.create_task(self._postman.run()) if self._postman else None
        await receive()
        if deliveries is not None:
            deliveries.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await deliveries
        self.store.close()
        await send({"type": "lifespan.shutdown.complete"})


def options(about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int)
    where.add_argument("--fd", type=int)
    parser.add_argument("--data", type=Path, required=True, help="the file that keeps what the provider knows")
    parser.add_argument("--url", required=True, help="where browsers find the hosted pages")
    parser.add_argument("--webhook", default="", help="the product's address for webhooks")
    return parser


def serve(given: argparse.Namespace, make: Callable[[Store], Provider]) -> None:
    """Serve until a signal says stop, on `--port` or on a listening socket inherited as `--fd`."""
    logging.basicConfig(level=logging.INFO)
    # One line per delivery is said by the postman where it matters.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    app = make(Store(given.data))
    uvicorn.run(
        app,
        host=HOST,
        port=given.port or 0,
        fd=given.fd,
        http=Protocol,
        access_log=False,
        server_header=False,
        lifespan="on",
    )
