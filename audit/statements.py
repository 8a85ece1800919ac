"""Signed statements about a log: pure, so that whoever keeps them checks them without us.

A checkpoint says what the hash of a row was; a cut says too that older rows were removed because their time was over. Each is one
line of JSON, signed with Ed25519 (RFC 8032) over its canonical form without the member `signature`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from binascii import Error as NotBase64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.chain import Point, canonical

VERSION = 1
_HASH_BYTES = 32


class StatementKind(StrEnum):
    HEAD = "head"
    CUT = "cut"


class NotAStatementError(ValueError):
    """The text is none of our statements, or not as it was signed."""


@dataclass(frozen=True, slots=True)
class Statement:
    """`log` names the log by its schema; `at` is when it was said, in ISO 8601."""

    kind: StatementKind
    log: str
    point: Point
    at: str
    key: str
    signature: bytes

    def signed(self) -> bytes:
        return canonical(self._content())

    def as_json(self) -> dict[str, Any]:
        return {**self._content(), "signature": base64.b64encode(self.signature).decode()}

    def line(self) -> str:
        return json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))

    def _content(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "kind": str(self.kind),
            "log": self.log,
            "sequence": self.point.sequence,
            "hash": self.point.hash.hex(),
            "at": self.at,
            "key": self.key,
        }


class Signer:
    """The key that signs statements, made of 32 secret bytes."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    def sign(self, kind: StatementKind, log: str, point: Point, at: datetime) -> Statement:
        unsigned = Statement(kind, log, point, at.isoformat(timespec="seconds"), self.key_id, b"")
        return Statement(kind, log, point, unsigned.at, self.key_id, self._private.sign(unsigned.signed()))


def key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


def read(text: str, publics: Iterable[bytes]) -> Statement:
    """A statement from its line, if one of these keys signed it. Raises NotAStatementError that says what is wrong."""
    try:
        found = json.loads(text)
        point = Point(int(found["sequence"]), bytes.fromhex(found["hash"]))
        signature = base64.b64decode(found["signature"], validate=True)
        statement = Statement(
            StatementKind(found["kind"]), str(found["log"]), point, str(found["at"]), str(found["key"]), signature
        )
        if found["version"] != VERSION or len(point.hash) != _HASH_BYTES or point.sequence < 1:
            raise NotAStatementError("It is of another version, or says something that no checkpoint says.")
    except (KeyError, TypeError, ValueError, NotBase64, RecursionError) as error:
        if isinstance(error, NotAStatementError):
            raise
        raise NotAStatementError("It is not a checkpoint: it should be one line of JSON.") from error
    for public in publics:
        if key_id(public) == statement.key and _verifies(public, statement):
            return statement
    raise NotAStatementError("Its signature is not ours.")


def _verifies(public: bytes, statement: Statement) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(statement.signature, statement.signed())
    except InvalidSignature:
        return False
    return True
