"""The text of an API key, and what of it is stored.

`mk_<env>_<key id>_<secret>_<check>`: the key id (12 characters) finds the row, the secret (43 characters, 256 bits) proves it,
the check (6 characters, CRC-32) lets a scanner or a client spot a mistyped key without asking us. Only an HMAC-SHA-256 of the
secret under a server-side pepper is kept: the secret is random, so a slow hash would add cost and no safety.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY_ID_LENGTH = 12
_SECRET_LENGTH = 43
_CHECK_LENGTH = 6
_PATTERN = re.compile(
    r"mk_(?P<env>[a-z]{2,8})_(?P<key_id>[0-9A-Za-z]{12})_(?P<secret>[0-9A-Za-z]{43})_(?P<check>[0-9A-Za-z]{6})\Z"
)
MAX_LENGTH = 96


@dataclass(frozen=True, slots=True)
class KeyText:
    env: str
    key_id: str
    secret: str

    def __str__(self) -> str:
        stem = f"mk_{self.env}_{self.key_id}_{self.secret}"
        return f"{stem}_{_check(stem)}"

    def __repr__(self) -> str:
        return f"KeyText({self.env!r}, {self.key_id!r}, <secret>)"


def mint(env: str) -> KeyText:
    return KeyText(env, _random(_KEY_ID_LENGTH), _random(_SECRET_LENGTH))


def parse(text: str) -> KeyText | None:
    """The parts of a well-formed key, or None; no lookup happens for anything else."""
    if len(text) > MAX_LENGTH:
        return None
    match = _PATTERN.match(text)
    if match is None:
        return None
    stem = text[: -(_CHECK_LENGTH + 1)]
    if match["check"] != _check(stem):
        return None
    return KeyText(match["env"], match["key_id"], match["secret"])


def digest(secret: str, pepper: bytes) -> bytes:
    return hmac.new(pepper, secret.encode(), hashlib.sha256).digest()


def matches(secret: str, pepper: bytes, stored: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(digest(secret, pepper), stored)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _check(stem: str) -> str:
    value, digits = zlib.crc32(stem.encode()), []
    for _ in range(_CHECK_LENGTH):
        value, rest = divmod(value, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))
