"""Faults on demand, and the clock: what a test asks of a fake provider beside its interface.

`POST /_test/switches {"name", "method", "path", "times", "value"}` sets one of: `refuse` (503 before anything is done),
`fail_after` (500 after it was done), `drop_answer` (the connection ends after it was done), `delay` (`value` seconds first),
and `repeat_webhook` (each event is sent twice). `POST /_test/clock {"ahead"}` puts the clock ahead, `GET /_test/requests` lists
what was asked, `GET /_test/undelivered` counts the webhooks that nobody took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from marketplace.testpayments.store import Store
from marketplace.testpayments.wire import Answer, Request, as_json

SWITCHES = ("refuse", "fail_after", "drop_answer", "delay", "repeat_webhook")


class DroppedError(Exception):
    """Ends a connection without an answer."""


def answer(store: Store, request: Request, body: dict[str, Any]) -> Answer:
    if request.path == "/_test/switches" and body.get("name") in SWITCHES:
        places = (body.get("method", ""), body.get("path", ""))
        store.set_switch(body["name"], *places, int(body.get("times", 1)), float(body.get("value", 0)))
        return as_json(200, {})
    if request.path == "/_test/clock":
        store.advance(int(body["ahead"]))
        return as_json(200, {"now": store.now()})
    if request.path == "/_test/requests":
        return as_json(200, store.recorded())
    if request.path == "/_test/undelivered":
        return as_json(200, {"count": store.undelivered()})
    return as_json(404, {"error": "There is no such control."})


async def with_faults(store: Store, request: Request, act: Callable[[], Answer]) -> Answer:
    """The answer of `act`, with the faults that switches ask for. Raises DroppedError where there is to be none."""
    if (seconds := store.take_switch("delay", request.method, request.path)) is not None:
        await asyncio.sleep(seconds)
    if store.take_switch("refuse", request.method, request.path) is not None:
        return as_json(503, {"error": {"type": "api_error", "message": "Not available."}})
    answered = act()
    if store.take_switch("drop_answer", request.method, request.path) is not None:
        raise DroppedError
    if store.take_switch("fail_after", request.method, request.path) is not None:
        return as_json(500, {"error": {"type": "api_error", "message": "Something went wrong on the provider's end."}})
    return answered
