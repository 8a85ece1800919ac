"""W3C trace context: a client's trace is continued, or one begins here; the server is told that we are its parent.

Our request to the server is the span named by the random half of the call id, and a trace that begins here has the whole of it
for a name, so that a row, a span and a server's log line find each other without anything more to store. A client's own words
in `_meta` pass untouched.
"""

from __future__ import annotations

import re

from gateway.context import CallContext

_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII
)
_SAMPLED = "01"


def trace_of(call: CallContext) -> tuple[str, str, str]:
    """Trace id, the caller's span or nothing, and the flags."""
    if call.trace is None:
        call.trace = _read(call)
    return call.trace


def lines(call: CallContext) -> bytes:
    """The header lines that name a call to a server."""
    trace_id, _, flags = trace_of(call)
    text = call.call_id_text
    return b"x-marketplace-call-id: %b\r\ntraceparent: 00-%b-%b-%b\r\n" % (
        text,
        trace_id.encode(),
        text.replace(b"-", b"")[16:],
        flags.encode(),
    )


def _read(call: CallContext) -> tuple[str, str, str]:
    parent: object = call.headers.get(b"traceparent")
    if isinstance(parent, bytes):
        parent = parent.strip().decode("latin-1")
    elif call.message is not None and isinstance(meta := call.message.params.get("_meta"), dict):
        parent = meta.get("traceparent")
    if isinstance(parent, str) and (found := _PARENT.fullmatch(parent)) is not None:
        return found[1], found[2], found[3]
    return call.call_id_text.replace(b"-", b"").decode(), "", _SAMPLED
