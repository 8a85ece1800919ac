"""Closed: a state that is not ours, not this caller's, not about this request, too old or used before continues nothing.

A server of the handshake revisions asks its client in the middle of a call and waits. A client of the modern revision is given
the question as an answer and comes back with another request. In between the call to the server is held here, and the
client holds a sealed note of where.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.mcp import lossless
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import NAME_KEYS
from gateway.peers import Ask

LIFETIME_S = 600.0
MAX_HELD = 2048
MAX_HELD_BY_TENANT = 256  # with whatever many keys and servers
MAX_HELD_BY_OWNER = 64
_PREFIX = "m1."
_MAX_STATE = 4096

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a held call is: the process and its number there."""

    process: str
    held_id: str


AFRESH = Place("", "")  # nothing is held anywhere: the request is sent again as it was


class StateSeal:
    """`requestState`: encrypted, so that it tells nothing, and bound to who may use it for what."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._box = AESGCM(hashlib.sha256(b"request-state\x00" + key).digest())
        self._clock = clock

    def seal(self, place: Place, owner: str, request: Ask) -> str:
        """`owner` names tenant, key and server."""
        note = orjson.dumps([place.process, place.held_id, int(self._clock() + LIFETIME_S)])
        nonce = os.urandom(12)
        sealed = nonce + self._box.encrypt(nonce, note, _binding(owner, request))
        return _PREFIX + base64.urlsafe_b64encode(sealed).decode()

    def unseal(self, state: Any, owner: str, request: Ask) -> Place:
        """Raises RefusedError."""
        if not isinstance(state, str) or not state.startswith(_PREFIX) or len(state) > _MAX_STATE:
            raise invalid_state()
        try:
            sealed = base64.b64decode(state.removeprefix(_PREFIX), altchars=b"-_", validate=True)
            note = self._box.decrypt(sealed[:12], sealed[12:], _binding(owner, request))
        except (binascii.Error, InvalidTag, ValueError) as exc:
            raise invalid_state() from exc
        process, held_id, expires_at = orjson.loads(note)
        if expires_at <= self._clock():
            raise invalid_state()
        return Place(process, held_id)


def invalid_state() -> RefusedError:
    refusal = RefusedError("gateway.request_state_invalid")
    refusal.data["reason"] = "invalid_request_state"
    return refusal


def _binding(owner: str, request: Ask) -> bytes:
    name = request.params.get(NAME_KEYS.get(request.method, ""))
    arguments = lossless.canonical(request.params.get("arguments") or {})
    return b"\x00".join(
        (owner.encode(), request.method.encode(), str(name).encode(), hashlib.sha256(arguments).digest())
    )


@dataclass(slots=True)
class _Slot(Generic[T]):
    owner: str
    item: T
    until: float


class Holds(Generic[T]):
    """What is held in this process, each under a number that is good for one use."""

    def __init__(self, drop: Callable[[T], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._drop, self._clock = drop, clock
        self._slots: dict[str, _Slot[T]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, owner: str, item: T) -> str:
        """Raises RefusedError when this owner, its organisation, or everybody together holds too much.

        `owner` begins with the organisation, up to the first `|`.
        """
        tenant = f"{owner.partition('|')[0]}|"
        mine = sum(slot.owner == owner for slot in self._slots.values())
        ours = sum(slot.owner.startswith(tenant) for slot in self._slots.values())
        if mine >= MAX_HELD_BY_OWNER or ours >= MAX_HELD_BY_TENANT or len(self._slots) >= MAX_HELD:
            raise RefusedError("upstream.busy", "Too many calls wait for their callers' answers.")
        held_id = secrets.token_urlsafe(12)
        self._slots[held_id] = _Slot(owner, item, self._clock() + LIFETIME_S)
        return held_id

    def take(self, owner: str, held_id: str) -> T | None:
        slot = self._slots.get(held_id)
        if slot is None or slot.owner != owner:
            return None
        del self._slots[held_id]
        if self._clock() >= slot.until:
            self._drop(slot.item)
            return None
        return slot.item

    def reap(self) -> None:
        """Drop what nobody came back for."""
        now = self._clock()
        for held_id in [held_id for held_id, slot in self._slots.items() if now >= slot.until]:
            self._drop(self._slots.pop(held_id).item)

    def clear(self) -> None:
        while self._slots:
            self._drop(self._slots.popitem()[1].item)
