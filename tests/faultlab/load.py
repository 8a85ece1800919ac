"""A steady stream of calls that does not slow down when the product does, and what became of each call."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from dataclasses import dataclass, field

import httpx

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "faultlab", "version": "1"},
}
PATIENCE_S = 40.0


@dataclass(frozen=True)
class Caller:
    """An organisation's key."""

    tenant: str
    schema: str
    token: str


@dataclass
class Sent:
    """One call from the client's side. `status` 0: no answer arrived in full."""

    caller: Caller
    server: str
    tool: str
    nonce: str
    began: float
    status: int = 0
    seconds: float = 0.0
    call_id: str = ""
    echoed: str | None = None
    code: str = ""
    left: bool = False  # the client hung up on purpose

    @property
    def succeeded(self) -> bool:
        return self.status == 200 and self.echoed is not None


@dataclass
class Load:
    """`rate` calls a second, spread over callers and gateways; 30 % write, a fifth are streams."""

    bases: list[str]
    callers: list[Caller]
    rate: float = 200.0
    servers: tuple[str, ...] = ("steady", "shaky")
    leaving_share: float = 0.0
    sent: list[Sent] = field(default_factory=list)

    async def __aenter__(self) -> Load:
        limits = httpx.Limits(max_connections=600, max_keepalive_connections=100)
        self._client = httpx.AsyncClient(timeout=PATIENCE_S, limits=limits, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = True
        self._pump = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """No further calls; wait for those under way."""
        if not self._running:
            return
        self._running = False
        await self._pump
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_S + 5)
        await self._client.aclose()

    async def _run(self) -> None:
        began, number = time.monotonic(), 0
        while self._running:
            number += 1
            pause = began + number / self.rate - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            task = asyncio.create_task(self._call(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _call(self, number: int) -> None:
        caller = self.callers[number % len(self.callers)]
        tool = "write" if number % 10 < 3 else "stream" if number % 5 == 4 else "read"
        sent = Sent(
            caller,
            self.servers[number % len(self.servers)],
            tool,
            f"{caller.tenant}:{uuid.uuid4().hex}",
            time.monotonic(),
        )
        self.sent.append(sent)
        try:
            await asyncio.wait_for(self._exchange(sent, self.bases[number % len(self.bases)]), self._patience())
        except TimeoutError:
            sent.left = True
        except httpx.HTTPError as error:
            sent.code = type(error).__name__
        sent.seconds = time.monotonic() - sent.began

    def _patience(self) -> float:
        return random.random() * 0.05 if random.random() < self.leaving_share else PATIENCE_S

    async def _exchange(self, sent: Sent, base: str) -> None:
        params = {"name": sent.tool, "arguments": {"nonce": sent.nonce}, "_meta": META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {
            "authorization": f"Bearer {sent.caller.token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": sent.tool,
        }
        response = await self._client.post(f"{base}/mcp/{sent.server}", content=json.dumps(body), headers=headers)
        sent.call_id = response.headers.get("x-marketplace-call-id", "")
        _read(sent, response)


def _read(sent: Sent, response: httpx.Response) -> None:
    if "text/event-stream" in response.headers.get("content-type", ""):
        events = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
        message = json.loads(events[-1]) if events else {}
    else:
        message = response.json()
    if "result" in message:
        sent.echoed = "".join(item.get("text", "") for item in message["result"].get("content", []))
    else:
        sent.code = str(((message.get("error") or {}).get("data") or {}).get("code", "no code"))
    sent.status = response.status_code
