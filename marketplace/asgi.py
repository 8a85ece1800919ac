"""The ASGI application: the gateway and Django side by side in one process, or one of them by `MARKETPLACE_ROLE`."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402 - after the setup above

from gateway.app import Gateway  # noqa: E402
from gateway.services.entries import ModelLoader  # noqa: E402
from marketplace.gateway_config import build_config  # noqa: E402

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NOT_HERE = b'{"code":"not_found","title":"This process serves only the gateway.","status":404}'


def build(role: str) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The application of a role. Gateway paths never reach Django, and everything else never reaches the gateway."""
    gateway = None if role == "web" else Gateway(build_config(), ModelLoader())

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(gateway, receive, send)
        elif gateway is not None and scope["type"] == "http" and gateway.handles(scope["path"]):
            await gateway(scope, receive, send)
        elif role == "gateway" and scope["path"] not in {"/healthz", "/readyz"}:
            await send(
                {
                    "type": "http.response.start",
                    "status": 404,
                    "headers": [(b"content-type", b"application/problem+json")],
                }
            )
            await send({"type": "http.response.body", "body": _NOT_HERE})
        else:
            await django_application(scope, receive, send)  # type: ignore[arg-type]

    return application


def _settle_memory() -> None:
    """Take what was loaded at the start out of the garbage collector's sight: it stays, and walking it costs every call."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _lifespan(gateway: Gateway | None, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            if gateway is not None:
                await gateway.startup()
            _settle_memory()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            if gateway is not None:
                await asyncio.shield(gateway.shutdown())
            await send({"type": "lifespan.shutdown.complete"})
            return


application = build(settings.ROLE)
