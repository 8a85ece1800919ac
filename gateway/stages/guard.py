"""Closed: an HTTP request that two parsers could read differently, or that a browser was tricked into, goes no further."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from gateway.config import Limits
from gateway.http import HEADERS
from gateway.mcp.errors import RefusedError

Headers = dict[bytes, bytes]

_SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"x-api-key",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"origin",
        b"last-event-id",
        b"x-mcp-human-id",
        b"x-mcp-agent-id",
        b"x-mcp-team-id",
        b"x-mcp-agent-session",
    }
)
_SECONDS = re.compile(rb"[0-9]{1,6}(?:\.[0-9]{1,6})?\Z")
_VERSIONS = frozenset({"1.1", "1.0"})
_HOP_TOKENS = frozenset({b"keep-alive", b"close", b"te", b"upgrade", b"http2-settings", b""})


def seconds(value: bytes) -> float:
    """How long a caller wants to wait. Raises RefusedError."""
    text = value.strip()
    if not _SECONDS.match(text) or not float(text):
        raise RefusedError("gateway.headers_invalid", "X-Request-Timeout is a positive number of seconds.")
    return float(text)


def check(scope: Mapping[str, Any], limits: Limits, host_names: frozenset[str]) -> Headers:
    """The request's headers, each name once. Raises RefusedError."""
    raw = scope["headers"]
    headers: Headers = scope.get(HEADERS) or dict(raw)
    if scope["http_version"] not in _VERSIONS:
        raise RefusedError("gateway.headers_invalid", "Only HTTP/1.1 is spoken here.")
    if len(headers) != len(raw):
        _refuse_duplicates(raw)
    if len(raw) > limits.headers or sum(map(len, headers)) + sum(map(len, headers.values())) > limits.header_bytes:
        most = f"{limits.headers} headers of {limits.header_bytes} bytes"
        raise RefusedError("gateway.headers_invalid", f"The request has more than {most} together.")
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        _check_coding(coding, headers)
    if not _is_own_host(headers.get(b"host", b""), host_names):
        raise RefusedError("gateway.host_unknown")
    origin = headers.get(b"origin")
    if origin is not None and not _is_own_origin(origin, host_names):
        raise RefusedError("gateway.origin_refused")
    connection = headers.get(b"connection")
    if connection is not None and not _is_plain_connection(connection):
        raise RefusedError("gateway.headers_invalid", "Connection names headers that the gateway needs.")
    return headers


def _check_coding(coding: bytes, headers: Headers) -> None:
    if b"content-length" in headers:
        raise RefusedError("gateway.headers_invalid", "The request has both a length and a transfer encoding.")
    if coding.strip().lower() != b"chunked":
        # Who reads a list of codings differently ends the body elsewhere.
        raise RefusedError("gateway.headers_invalid", "The only transfer encoding is `chunked`.")


def check_json(headers: Headers) -> None:
    """A body is JSON, and says so."""
    if not _is_json(headers.get(b"content-type", b"")):
        raise RefusedError("gateway.media_type")


def check_accept(headers: Headers) -> None:
    """A client of the protocol can read both kinds of answer."""
    if not _accepts_both(headers.get(b"accept", b"*/*")):
        raise RefusedError("gateway.not_acceptable")


def _refuse_duplicates(raw: list[tuple[bytes, bytes]]) -> None:
    seen: set[bytes] = set()
    for name, _ in raw:
        if name in seen and (name in _SINGLE or name.startswith(b"mcp-")):
            raise RefusedError("gateway.header_duplicated", f"{name.decode('latin-1')} was sent more than once.")
        seen.add(name)


@lru_cache(maxsize=256)
def _is_own_host(value: bytes, host_names: frozenset[str]) -> bool:
    return _host_of(f"//{value.decode('latin-1')}") in host_names


@lru_cache(maxsize=256)
def _is_own_origin(value: bytes, host_names: frozenset[str]) -> bool:
    """A page of ours, by its host; or one that the operator named, by its whole origin, which is the name of no host."""
    origin = value.decode("latin-1").lower()
    return _host_of(origin) in host_names or ("://" in origin and origin in host_names)


def _host_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return ""
    return "" if "@" in parts.netloc else (parts.hostname or "").removesuffix(".")


@lru_cache(maxsize=64)
def _is_plain_connection(value: bytes) -> bool:
    return all(token.strip() in _HOP_TOKENS for token in value.lower().split(b","))


@lru_cache(maxsize=64)
def _is_json(value: bytes) -> bool:
    return value.partition(b";")[0].strip().lower() == b"application/json"


@lru_cache(maxsize=64)
def accepted_types(value: bytes) -> frozenset[bytes]:
    return frozenset(part.partition(b";")[0].strip().lower() for part in value.split(b","))


@lru_cache(maxsize=64)
def _accepts_both(value: bytes) -> bool:
    types = accepted_types(value)
    if b"*/*" in types:
        return True
    takes_json = bool(types & {b"application/json", b"application/*"})
    return takes_json and bool(types & {b"text/event-stream", b"text/*"})
