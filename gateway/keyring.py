"""Closed: without a signing key nothing is signed, and a token of an unknown key is not believed.

The platform's signing keys as this process holds them: loaded at the start, again when a push says that they changed, and every
half minute as the safety net. Keys are published long before they sign, so a gateway that learns late signs with a key that is
still believed.
"""

from __future__ import annotations

import asyncio
import logging

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from core import signing
from gateway.entries import SigningEntry
from gateway.mcp.errors import RefusedError
from gateway.ports import Loader
from gateway.store import EntryStore

log = logging.getLogger(__name__)

RELOAD_S = 30.0
RETRY_S = 2.0
UNKNOWN_S = 60.0


class Keyring:
    def __init__(self, loader: Loader, store: EntryStore) -> None:
        self._loader, self._store = loader, store
        self._loop = asyncio.get_running_loop()
        self._signer: signing.Signer | None = None
        self._public: dict[str, EllipticCurvePublicKey] = {}
        self._due = self._asked = 0.0
        self._stale = False
        self._task: asyncio.Task[None] | None = None

    @property
    def signer(self) -> signing.Signer:
        """Raises RefusedError when no key could be loaded yet."""
        if self._signer is None:
            raise RefusedError("gateway.signing_unavailable")
        return self._signer

    def public(self, kid: str) -> EllipticCurvePublicKey | None:
        """The published key of an id. An unknown id asks for the keys again, at most once a minute whoever guesses."""
        key = self._public.get(kid)
        if key is None and self._loop.time() - self._asked >= UNKNOWN_S:
            self._asked = self._loop.time()
            self.refresh()
        return key

    def tick(self) -> None:
        """Called every few seconds."""
        if self._loop.time() >= self._due:
            self.refresh()

    def refresh(self) -> None:
        """Load the keys again in the background; once more when they are just being loaded and may have changed since."""
        self._stale = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        while self._stale:
            self._stale = False
            await self.load()

    async def load(self) -> None:
        """Take the keys of this moment; those that are held stay when the database is away."""
        self._due = self._loop.time() + RETRY_S
        try:
            entry = await self._store.call(self._loader.signing)
            self._take(entry)
        except Exception as exc:  # noqa: BLE001 - whatever the database raises, it is asked again soon
            log.warning("signing keys not loaded: %s", type(exc).__name__)
            return
        self._due = self._loop.time() + RELOAD_S

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _take(self, entry: SigningEntry) -> None:
        if self._signer is None or self._signer.kid != entry.kid:
            self._signer = signing.Signer(entry.kid, entry.private)
        self._public = {kid: self._public.get(kid) or signing.load_public(key) for kid, key in entry.public.items()}
