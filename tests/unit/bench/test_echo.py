"""The upstream of the gateway benchmark."""

import asyncio
import json
from typing import Any

import pytest

from bench.echo import Echo, application, reply


class Sink:
    """What a connection would write to."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def request(number: int, text: str) -> bytes:
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"arguments": {"text": text}}}
    body = json.dumps(message).encode()
    return b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def answers(written: bytes) -> list[Any]:
    return [json.loads(part.partition(b"\r\n\r\n")[2]) for part in written.split(b"HTTP/1.1 200 OK\r\n")[1:]]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_requests_in_any_pieces_are_answered_in_order_with_their_own_text(size: int) -> None:
    sink, echo = Sink(), Echo()
    echo.connection_made(sink)  # type: ignore[arg-type]
    stream = request(1, "one") + request(2, "two")
    for start in range(0, len(stream), size):
        echo.data_received(stream[start : start + size])
    seen = [(one["id"], one["result"]["content"][0]["text"]) for one in answers(sink.written)]
    assert seen == [(1, "one"), (2, "two")]


def test_the_asgi_form_answers_alike_also_when_the_body_comes_in_parts() -> None:
    body = request(3, "three").partition(b"\r\n\r\n")[2]
    parts = [{"body": body[:10], "more_body": True}, {"body": body[10:], "more_body": False}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(application({}, receive, send))
    assert sent[0]["status"] == 200
    assert json.loads(sent[1]["body"])["result"]["content"][0]["text"] == "three"


def test_the_token_of_the_marketplace_is_shown_when_asked_for() -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"arguments": {"text": "", "show": "token"}},
    }
    body = json.dumps(message).encode()
    sink, echo = Sink(), Echo()
    echo.connection_made(sink)  # type: ignore[arg-type]
    head = b"POST /mcp HTTP/1.1\r\nX-Marketplace-Token: a.b.c\r\nContent-Length: %d\r\n\r\n" % len(body)
    echo.data_received(head + body)
    assert answers(sink.written)[0]["result"]["content"][0]["text"] == "a.b.c"


@pytest.mark.parametrize("method", ["initialize", "server/discover", "tools/list", "ping"])
def test_both_eras_can_begin_a_conversation_with_it(method: str) -> None:
    said = json.loads(reply({"jsonrpc": "2.0", "id": 7, "method": method}))
    assert said["id"] == 7
    assert "result" in said


def test_nothing_is_said_to_a_notification() -> None:
    assert reply({"jsonrpc": "2.0", "method": "notifications/initialized"}) == b""
