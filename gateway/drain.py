"""Open: a process that was told to stop serves on for a while, so that no caller meets a closed door.

On SIGTERM the probe says "not ready" at once and every answer asks its connection to be closed, so that proxies and clients move
on. After the drain's seconds listening streams are ended in good order, and the server stops in its own way (uvicorn's): no
further connections, what is in flight is finished within its grace, then rows are flushed. A second signal does not wait.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_CLOSE = (b"connection", b"close")
_LAST_REQUESTS_S = 0.5


def on_sigterm(begin: Callable[[], None], end: Callable[[], None], seconds: float) -> None:
    """Take the signal before the server does. Nothing outside the main thread, where signals cannot be taken."""
    if threading.current_thread() is not threading.main_thread():
        return
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop):
        return
    loop = asyncio.get_running_loop()

    def last(number: int, frame: FrameType | None) -> None:
        end()
        _stop_accepting(stop)
        loop.call_later(_LAST_REQUESTS_S, stop, number, frame)

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, stop)
        begin()
        loop.call_soon_threadsafe(loop.call_later, seconds, last, number, frame)

    signal.signal(signal.SIGTERM, first)


def _stop_accepting(stop: Callable[..., Any]) -> None:
    """Close the listeners of the server whose method `stop` is.

    uvicorn closes them and every connection without a request in one step, and with them connections whose request is just on its
    way. Closed a moment earlier, whoever was accepted is still heard, and whoever was not waits for the next process.
    """
    for listener in getattr(getattr(stop, "__self__", None), "servers", ()):
        listener.close()


def closing(send: Send) -> Send:
    """The same, with the word that the connection is closed after this answer."""

    async def say(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and _CLOSE not in message["headers"]:
            message["headers"] = [*message["headers"], _CLOSE]
        await send(message)

    return say
