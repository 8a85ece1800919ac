"""Cutting a stream at its events, however its bytes arrive and its lines end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mcp import sse

ANSWER = {"jsonrpc": "2.0", "id": 1, "result": {}}
STREAM = (
    ': ping{e}{e}event: message{e}data: {{"jsonrpc":"2.0","method":"notifications/progress"}}{e}{e}'
    'id: 7{e}data: {{"jsonrpc":"2.0",{e}data:"id":1,"result":{{}}}}{e}{e}'
)


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(1, 40), max_size=40))
def test_events_are_the_same_however_the_bytes_arrive(end: str, sizes: list[int]) -> None:
    data = STREAM.format(e=end).encode()
    cutter, events, rest = sse.EventCutter(10_000), [], data
    for size in sizes:
        events += cutter.feed(rest[:size])
        rest = rest[size:]
    events += cutter.feed(rest)
    events += cutter.finish()
    assert b"".join(events) == data
    assert [sse.message_of(event) for event in events] == [
        None,
        {"jsonrpc": "2.0", "method": "notifications/progress"},
        ANSWER,
    ]
    assert [sse.has_event_id(event) for event in events] == [False, False, True]


def test_an_unfinished_event_is_no_event() -> None:
    cutter = sse.EventCutter(1000)
    assert cutter.feed(b'data: {"id":1}\n') == []
    assert cutter.finish() == []


def test_an_endless_event_is_refused() -> None:
    cutter = sse.EventCutter(100)
    cutter.feed(b"data: " + b"x" * 50)
    with pytest.raises(sse.EventTooLargeError):
        cutter.feed(b"x" * 100)


@pytest.mark.parametrize("data", [b"data: {nope\n\n", b"data: [1]\n\n", b"data: 7\n\n", b'data: {"id":1}{"id":2}\n\n'])
def test_an_event_that_is_no_object_is_an_error_and_not_silence(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        sse.message_of(data)


@pytest.mark.parametrize("data", [b": comment\n\n", b"event: ping\n\n", b"retry: 10\n\n", b"data\n\n", b"data:\n\n"])
def test_what_carries_nothing_is_no_message(data: bytes) -> None:
    assert sse.message_of(data) is None


def test_a_byte_order_mark_and_an_odd_field_do_not_hide_an_answer() -> None:
    assert sse.message_of(b'\xef\xbb\xbfdata:{"jsonrpc":"2.0","id":1,"result":{}}\n\n') == ANSWER
    assert sse.message_of(b'datax: 1\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n') == ANSWER


def test_only_a_message_without_a_method_is_an_answer() -> None:
    assert sse.is_answer(ANSWER)
    assert sse.is_answer({"id": 1, "error": {}})
    assert not sse.is_answer({"id": 1, "method": "elicitation/create", "params": {}})
    assert not sse.is_answer(None)
