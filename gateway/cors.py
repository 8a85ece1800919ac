"""Closed: pages of origins that are not ours and that the operator did not name get no answer, and could not read one.

Browsers ask before they send what MCP clients send (`OPTIONS`), and show a page only the headers that the answer names. The
credential is a header that the page must have, never a cookie, so that an allowed origin alone gives nothing away.
"""

from __future__ import annotations

from functools import lru_cache

Pairs = list[tuple[bytes, bytes]]

_METHODS = b"GET, POST, DELETE, OPTIONS"
_HEADERS = frozenset(
    {
        b"accept",
        b"authorization",
        b"baggage",
        b"content-type",
        b"last-event-id",
        b"mcp-method",
        b"mcp-name",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"traceparent",
        b"tracestate",
        b"x-api-key",
    }
)
_ARGUMENTS = b"mcp-param-"
_EXPOSED = (
    b"mcp-session-id, www-authenticate, retry-after, ratelimit, ratelimit-policy, server-timing, x-marketplace-call-id"
)
_MAX_AGE_S = 7200


@lru_cache(maxsize=256)
def readable(origin: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that let a page of this origin, which the guard has let pass, read an answer."""
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"origin"),
    )


def preflight(origin: bytes, asked: bytes) -> Pairs:
    """The answer to a browser that asks whether it may send these headers."""
    names = {name.strip() for name in asked.lower().split(b",")}
    allowed = sorted(name for name in names if name in _HEADERS or name.startswith(_ARGUMENTS))
    return [
        *readable(origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", b", ".join(allowed)),
        (b"access-control-max-age", b"%d" % _MAX_AGE_S),
    ]
