"""Webhooks of a fake provider: signed, sent at least once, tried again while the receiver does not take them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from marketplace.testpayments.store import Delivery, Store

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_TIMEOUT_S = 10
_PAUSE_FIRST_S, _PAUSE_LAST_S = 1, 300
_ATTEMPTS_MAX = 16

# The bytes and headers to send for the id of an event.
Signer = Callable[[str], tuple[bytes, dict[str, str]] | None]


@dataclass(frozen=True, slots=True)
class Postman:
    store: Store
    url: str
    sign: Signer

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
            while True:
                await self.round(client)
                await asyncio.sleep(_LOOK_EVERY_S)

    async def round(self, client: httpx.AsyncClient) -> None:
        for delivery in self.store.due(time.time()):
            taken = await self._send(client, delivery)
            if taken and self.store.take_switch("repeat_webhook", "", "") is not None:
                await self._send(client, delivery)
            pause = min(_PAUSE_FIRST_S * 2**delivery.attempts, _PAUSE_LAST_S)
            given_up = delivery.attempts + 1 >= _ATTEMPTS_MAX
            self.store.delivered(delivery, done=taken or given_up, next_at=time.time() + pause)

    async def _send(self, client: httpx.AsyncClient, delivery: Delivery) -> bool:
        signed = self.sign(delivery.event)
        if signed is None:
            return True
        body, headers = signed
        try:
            answer = await client.post(self.url, content=body, headers={"content-type": "application/json", **headers})
        except httpx.HTTPError as error:
            log.info("webhook %s not delivered: %s", delivery.event, type(error).__name__)
            return False
        if not answer.is_success:
            log.info("webhook %s answered %s", delivery.event, answer.status_code)
        return answer.is_success
