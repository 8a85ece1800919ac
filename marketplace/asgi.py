"""The ASGI application: the gateway and Django side by side in one process, or one of them by `MARKETPLACE_ROLE`."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core import compiled

compiled.install()  # before anything imports what is compiled
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

from django.core.asgi import get_asgi_application  # noqa: E402

unbounded = get_asgi_application()

from django.conf import settings  # noqa: E402 - after the setup above
from django.core.exceptions import ImproperlyConfigured  # noqa: E402

from gateway.app import Gateway  # noqa: E402
from gateway.services.entries import ModelLoader  # noqa: E402
from marketplace.bodies import Bounded  # noqa: E402
from marketplace.gateway_config import build_config, gateway_paths  # noqa: E402

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

# Beside the bytes of a file, a form has some fields.
_UPLOADS = {"/operations/import/": (settings.IMPORT_UPLOAD_MIB + 1) * 2**20}
django_application = Bounded(unbounded, settings.WEB_REQUEST_BYTES_MAX, _UPLOADS)  # type: ignore[arg-type]

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class Application:
    """Gateway paths never reach Django, and everything else never reaches the gateway."""

    def __init__(self, role: str) -> None:
        require_static_files(role)
        self._role = role
        self._gateway = None if role == "web" else Gateway(build_config(), ModelLoader())
        self._paths = gateway_paths()

    def direct(self, scope: Scope) -> Handler | None:
        """What `gateway.http` calls for a request instead of this application, where there is a shorter way."""
        return None if self._gateway is None else self._gateway.direct(scope)

    @property
    def at_once(self) -> Callable[[Any], bool] | None:
        """What takes a call that `gateway.http` knows the head of, without a task."""
        return None if self._gateway is None else self._gateway.at_once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway, role = self._gateway, self._role
        if scope["type"] == "lifespan":
            await _lifespan(gateway, receive, send)
            return
        path = scope["path"]
        if self._paths.is_ours(path):
            if gateway is None:
                await _answer(send, 404, "not_found", "This process serves no calls.")
            else:
                await gateway(scope, receive, send)
        elif role == "gateway" and path not in _PROBES:
            await _answer(send, 404, "not_found", "This process serves only the gateway.")
        elif path == "/readyz" and gateway is not None and (role == "gateway" or not gateway.is_ready):
            # A gateway alone goes on for a while without the database; beside pages it is as ready as they are.
            await _tell(send, gateway)
        elif path == "/metrics" and gateway is not None:
            await gateway.show_metrics(scope, send)
        else:
            await django_application(scope, receive, send)  # type: ignore[arg-type]


def build(role: str) -> Application:
    """The application of a role."""
    return Application(role)


def require_static_files(role: str) -> None:
    """Raises ImproperlyConfigured where pages would name static files that were never collected."""
    manifest = settings.STATIC_ROOT / "staticfiles.json"
    if not settings.DEVELOPMENT and role != "gateway" and not manifest.exists():
        raise ImproperlyConfigured(
            f"{manifest} is missing: run `manage.py collectstatic` with the same settings first."
        )


async def _tell(send: Send, gateway: Gateway) -> None:
    body = json.dumps(gateway.readiness()).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200 if gateway.is_ready else 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer(send: Send, status: int, code: str, title: str) -> None:
    body = json.dumps({"code": code, "title": title, "status": status}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
