"""Secrets at rest: envelope encryption that ties each ciphertext to the one row that it was made for.

A master key wraps one data key per organisation (and one of the platform); a data key seals secrets with AES-256-GCM. The
associated data names organisation, model, field and row, so that a ciphertext that is moved to another row, field or
organisation does not open. Every ciphertext begins with the id of its key, so that keys can be exchanged while both are in use.
A stolen copy of the database holds wrapped keys and sealed secrets, and nothing that opens them.

    wrapped key:  version (1) | master key id (8) | nonce (12) | AES-256-GCM
    secret:       version (1) | data key id (16)  | nonce (12) | AES-256-GCM
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import MarketplaceError

KEY_BYTES = 32
_VERSION = b"\x01"
_MASTER_ID, _DATA_ID, _NONCE = 8, 16, 12


class SealBrokenError(MarketplaceError):
    """A stored secret does not open: moved, changed, or sealed under a key that is gone."""

    code = "core.seal_broken"
    default_message = "A stored secret cannot be read."
    default_next_step = "Enter the secret again; if many are affected, restore MARKETPLACE_VAULT_KEYS."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret belongs. `tenant` is empty for the platform's own."""

    tenant: str
    model: str
    field: str
    row: str

    @property
    def data(self) -> bytes:
        # A list, because joined texts could be cut elsewhere and mean another place.
        return json.dumps(["secret", self.tenant, self.model, self.field, self.row]).encode()


class MasterKeys:
    """The keys of the installation: the first wraps, all unwrap."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        assert keys
        assert all(len(key) == KEY_BYTES for key in keys)
        self._ciphers = {_master_id(key): AESGCM(key) for key in keys}
        self._first = _master_id(keys[0])

    def wrap(self, data_key: bytes, owner: str, key_id: UUID) -> bytes:
        nonce = os.urandom(_NONCE)
        cipher = self._ciphers[self._first]
        return _VERSION + self._first + nonce + cipher.encrypt(nonce, data_key, _wrap_data(owner, key_id))

    def unwrap(self, wrapped: bytes, owner: str, key_id: UUID) -> bytes:
        """Raises SealBrokenError."""
        head = 1 + _MASTER_ID
        cipher = self._ciphers.get(wrapped[1:head])
        if wrapped[:1] != _VERSION or cipher is None:
            raise SealBrokenError
        return _open(cipher, wrapped[head:], _wrap_data(owner, key_id))

    def is_current(self, wrapped: bytes) -> bool:
        """Whether the first key wrapped it."""
        return wrapped[: 1 + _MASTER_ID] == _VERSION + self._first


class Keychain:
    """The data keys of one owner, unwrapped when they are first needed. `owner` is an organisation's id or empty."""

    __slots__ = ("_ciphers", "_masters", "_owner", "_wrapped")

    def __init__(self, masters: MasterKeys, owner: str, wrapped: Mapping[UUID, bytes]) -> None:
        self._masters, self._owner, self._wrapped = masters, owner, wrapped
        self._ciphers: dict[UUID, AESGCM] = {}

    def seal(self, key_id: UUID, place: Place, secret: bytes) -> bytes:
        assert place.tenant == self._owner
        nonce = os.urandom(_NONCE)
        return _VERSION + key_id.bytes + nonce + self._cipher(key_id).encrypt(nonce, secret, place.data)

    def open(self, place: Place, sealed: bytes) -> bytes:
        """Raises SealBrokenError for whatever was not sealed for exactly this place."""
        if sealed[:1] != _VERSION or len(sealed) < 1 + _DATA_ID + _NONCE:
            raise SealBrokenError
        return _open(self._cipher(key_of(sealed)), sealed[1 + _DATA_ID :], place.data)

    def _cipher(self, key_id: UUID) -> AESGCM:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            wrapped = self._wrapped.get(key_id)
            if wrapped is None:
                raise SealBrokenError
            cipher = self._ciphers[key_id] = AESGCM(self._masters.unwrap(wrapped, self._owner, key_id))
        return cipher


def key_of(sealed: bytes) -> UUID:
    """The id of the data key that sealed it."""
    return UUID(bytes=bytes(sealed[1 : 1 + _DATA_ID]))


def mint() -> bytes:
    return os.urandom(KEY_BYTES)


def _open(cipher: AESGCM, rest: bytes, data: bytes) -> bytes:
    try:
        return cipher.decrypt(rest[:_NONCE], rest[_NONCE:], data)
    except (InvalidTag, ValueError) as exc:
        raise SealBrokenError from exc


def _wrap_data(owner: str, key_id: UUID) -> bytes:
    return json.dumps(["data-key", owner, str(key_id)]).encode()


def _master_id(key: bytes) -> bytes:
    return hashlib.sha256(b"mcp-marketplace/vault-key-id" + key).digest()[:_MASTER_ID]
