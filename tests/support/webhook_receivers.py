"""Receivers of webhooks, as real HTTP servers: they keep what came, and answer, fail, hang or redirect as they are told."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Message:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """As the Standard Webhooks libraries verify: any one of the signatures suffices."""
        key = b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        wanted = "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return wanted in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """`statuses` are answered once each, then 204. A status of 0 hangs until the sender leaves; other answers carry `body`."""

    statuses: list[int] = field(default_factory=list)
    body: bytes = b""
    location: str = ""
    drips: bool = False
    port: int = 0
    got: list[Message] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.got.append(Message(scope["path"], headers, body))
        status = self.statuses.pop(0) if self.statuses else 204
        if status == 0:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        given = [(b"location", self.location.encode())] if self.location else []
        await send({"type": "http.response.start", "status": status, "headers": given})
        while self.drips:
            await send({"type": "http.response.body", "body": b".", "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": self.body if status != 204 else b""})
