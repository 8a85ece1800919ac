"""Trace context is continued when it is valid, begun when it is not, and never believed when it is malformed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core import ids
from gateway import tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def call(header: str | None = None, meta: Any = None) -> Any:
    call_id = ids.uuid7()
    return SimpleNamespace(
        call_id=call_id,
        call_id_text=str(call_id).encode(),
        headers={} if header is None else {b"traceparent": header.encode("latin-1")},
        message=None if meta is None else SimpleNamespace(params={"_meta": meta}),
        trace=None,
    )


def test_a_clients_trace_goes_on_with_our_span_as_the_servers_parent() -> None:
    asked = call(f"00-{TRACE}-{SPAN}-00")
    assert tracing.trace_of(asked) == (TRACE, SPAN, "00")
    assert f"traceparent: 00-{TRACE}-{asked.call_id.hex[16:]}-00\r\n" in tracing.lines(asked).decode()


def test_the_message_may_carry_it_and_the_header_beats_it() -> None:
    other = "1" * 32
    assert tracing.trace_of(call(meta={"traceparent": f"00-{TRACE}-{SPAN}-01"}))[0] == TRACE
    assert tracing.trace_of(call(f"00-{other}-{SPAN}-01", {"traceparent": f"00-{TRACE}-{SPAN}-01"}))[0] == other


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\r\nx-evil: 1",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_what_is_malformed_begins_a_trace_of_our_own(header: str) -> None:
    asked = call(header)
    assert tracing.trace_of(asked) == (asked.call_id.hex, "", "01")
    assert tracing.lines(asked).count(b"\r\n") == 2


@pytest.mark.parametrize("meta", [5, "text", {"traceparent": 7}, {}])
def test_odd_metadata_is_no_trace(meta: Any) -> None:
    asked = call(meta=meta)
    assert tracing.trace_of(asked)[0] == asked.call_id.hex
