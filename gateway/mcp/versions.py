"""The two eras of the protocol on one endpoint, told apart by `MCP-Protocol-Version` alone.

Legacy: the four revisions with a handshake, or no version at all; sessions; the routing headers do not exist there and are
neither believed nor forwarded.
Modern (2026-07-28 and later): no sessions; the routing headers must say what the body says, byte for byte after decoding.
A version that nobody knows is held to the stricter rules, as the official implementation does, and passed on: the server behind
answers which it supports.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache

from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import Message, Shape

FIRST_MODERN = b"2026-07-28"
# Methods of tasks that the older core had and this revision's extension has not.
_REMOVED = frozenset({"tasks/result", "tasks/list"})
META_VERSION = "io.modelcontextprotocol/protocolVersion"
META_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
META_CLIENT = "io.modelcontextprotocol/clientInfo"
META_LOG_LEVEL = "io.modelcontextprotocol/logLevel"
META_SERVER = "io.modelcontextprotocol/serverInfo"
META_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"

_HANDSHAKE = frozenset({b"", b"2024-11-05", b"2025-03-26", b"2025-06-18", b"2025-11-25"})
LEGACY = frozenset(version.decode() for version in _HANDSHAKE if version)
NEWEST_LEGACY = max(LEGACY)
_SENTINEL = re.compile(r"=\?base64\?(?P<payload>.*)\?=\Z")
_PLAIN = re.compile(r"[\x20-\x7e]*\Z")


def is_modern(version: bytes) -> bool:
    """Of a header's value without surrounding space, empty when there was none."""
    return version not in _HANDSHAKE


@lru_cache(maxsize=64)
def era_of(version: bytes) -> tuple[bool, str]:
    """Whether a header's value means the modern era, and the revision as it is stored."""
    version = version.strip()
    return is_modern(version), version.decode("latin-1")[:32]


def _of_another_era(message: Message) -> RefusedError | None:
    if message.shape is Shape.RESPONSE:
        return RefusedError("gateway.request_invalid", "This revision has no responses from the client.")
    return RefusedError("access.method_unknown") if message.method in _REMOVED else None


def check_modern(message: Message, headers: dict[bytes, bytes]) -> RefusedError | None:
    """What is wrong with a modern message and its headers, if anything. Order as in the official implementation."""
    if (message.shape is Shape.RESPONSE or message.method in _REMOVED) and (foreign := _of_another_era(message)):
        return foreign
    method = headers.get(b"mcp-method", b"").strip()
    if message.shape is Shape.NOTIFICATION:
        if method and method.decode("latin-1") != message.method:
            return RefusedError("gateway.header_mismatch", "Mcp-Method and the body's method differ.")
        return None
    meta = message.params.get("_meta")
    if not isinstance(meta, dict):
        return RefusedError("gateway.params_invalid", "`params._meta` is missing.")
    if META_VERSION not in meta or META_CAPABILITIES not in meta:
        key = META_CAPABILITIES if META_VERSION in meta else META_VERSION
        return RefusedError("gateway.params_invalid", f"`params._meta` lacks {key!r}.")
    if headers[b"mcp-protocol-version"].strip().decode("latin-1") != meta[META_VERSION]:
        return RefusedError("gateway.header_mismatch", "MCP-Protocol-Version and the body's version differ.")
    if method.decode("latin-1") != message.method:
        return RefusedError("gateway.header_mismatch", "Mcp-Method and the body's method differ.")
    if message.needs_name:
        sent, name = headers.get(b"mcp-name", b""), message.name
        # Most names need no decoding.
        if (not sent.isalnum() or sent.decode() != name) and decode_header(sent) != name:
            return RefusedError("gateway.header_mismatch", "Mcp-Name and the body's name differ.")
    return None


def decode_header(value: bytes) -> str | None:
    """A mirrored header value as text; None when it claims to be encoded and is not, which then equals no body value."""
    text = value.strip().decode("latin-1")
    match = _SENTINEL.match(text)
    if match is None:
        return text
    try:
        decoded = base64.b64decode(match["payload"], validate=True)
        # Only the canonical form: trailing bits could carry a second spelling of one name.
        return decoded.decode() if base64.b64encode(decoded).decode() == match["payload"] else None
    except (binascii.Error, ValueError):
        return None


def encode_header(value: str) -> bytes:
    """A text as a mirrored header value."""
    if _PLAIN.match(value) and value == value.strip() and not _SENTINEL.match(value):
        return value.encode()
    return b"=?base64?" + base64.b64encode(value.encode()) + b"?="
