"""The protocol under the application: what goes over the socket, byte for byte, whatever the application does."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from tests.support.gateways import HTTP, listening_socket

GET = b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET /plain HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
POST = b"POST /%b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
LENGTH = (b"content-length", b"5")

gone = threading.Event()
released = threading.Event()


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"hello", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


# What the application says at a path.
SAID: dict[str, list[dict[str, Any]]] = {
    "/plain": [start(LENGTH, (b"X-Case", b"tab\there")), body()],
    "/empty": [start(status=204), body(b"")],
    "/close": [start(LENGTH, (b"connection", b"close")), body()],
    "/split": [start(LENGTH, (b"x-odd", b"a\r\nset-cookie: b=c")), body()],
    "/name": [start(LENGTH, (b"x odd", b"a")), body()],
    "/long": [start(LENGTH), body(b"hello, world")],
    "/short": [start(LENGTH), body(b"he")],
    "/half": [start((b"content-type", b"text/plain")), body(b"half", more=True)],
    "/silent": [],
}


async def echo(receive: Any, send: Any) -> None:
    data, more = b"", True
    while more:
        message = await receive()
        data, more = data + message["body"], message["more_body"]
    await send(start((b"content-length", b"%d" % len(data))))
    await send(body(data))


async def stream(receive: Any, send: Any) -> None:
    await send(start((b"content-type", b"text/event-stream")))
    await asyncio.to_thread(released.wait, 10)
    await send(body(b"one", more=True))
    await send(body(b"", more=True))
    await send(body(b"two"))


async def broken(receive: Any, send: Any) -> None:
    raise ValueError("broken")


async def left(receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


DONE = {"/echo": echo, "/stream": stream, "/broken": broken, "/left": left}


async def application(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if path in DONE:
        await DONE[path](receive, send)
        return
    for message in SAID[path]:
        await send(message)


@contextmanager
def server(**options: Any) -> Iterator[int]:
    sock = listening_socket()
    config = uvicorn.Config(application, http=HTTP, log_level="critical", access_log=False, lifespan="off", **options)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[sock])), daemon=True)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(10)
        sock.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with server(server_header=False, date_header=False) as port:
        yield port


def talk(port: int, *pieces: bytes) -> bytes:
    """Everything that comes back on one connection until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        for piece in pieces:
            sock.sendall(piece)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_an_answer_of_known_length_arrives_whole(port: int) -> None:
    lines = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-case: tab\there\r\n"
    assert talk(port, GET % b"plain" + LAST) == lines + b"\r\nhello" + lines + b"connection: close\r\n\r\nhello"


def test_an_answer_of_known_length_is_one_write(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(GET % b"plain")
        assert sock.recv(65536).endswith(b"\r\n\r\nhello")


def test_requests_on_one_connection_are_answered_in_their_order(port: int) -> None:
    asked = [b"first", b"second", b"third"]
    answer = talk(port, b"".join(POST % (b"echo", len(text), text) for text in asked) + LAST)
    assert [answer.index(text) for text in asked] == sorted(answer.index(text) for text in asked)


def test_a_body_in_many_pieces_is_the_same_body(port: int) -> None:
    data = bytes(range(256)) * 1000
    request = POST % (b"echo", len(data), data)
    pieces = [request[at : at + 7001] for at in range(0, len(request), 7001)]
    assert data in talk(port, *pieces, LAST)


def test_the_head_of_a_stream_arrives_before_its_first_byte(port: int) -> None:
    released.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(GET % b"stream")
        head = sock.recv(65536)
        released.set()
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            rest += sock.recv(65536)
    assert head == b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    assert rest == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_an_answer_to_head_has_no_body(port: int) -> None:
    answer = talk(port, b"HEAD /plain HTTP/1.1\r\nhost: x\r\n\r\n" + GET % b"empty" + LAST)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"content-length: 5" in head
    assert rest.startswith(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        assert sock.recv(65536).endswith(b"\r\n\r\nhi")


@pytest.mark.parametrize("path", [b"split", b"name", b"broken", b"silent"])
def test_a_failure_before_the_head_is_a_plain_500_and_ends_the_connection(port: int, path: bytes) -> None:
    answer = talk(port, GET % path)
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nInternal Server Error")
    assert b"set-cookie" not in answer


@pytest.mark.parametrize("path", [b"long", b"short", b"half"])
def test_an_answer_that_breaks_its_promise_never_looks_complete(port: int, path: bytes) -> None:
    answer = talk(port, GET % path)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"hello" not in answer
    assert not answer.endswith(b"0\r\n\r\n")


def test_the_connection_ends_after_an_answer_that_says_so(port: int) -> None:
    assert talk(port, GET % b"close").count(b"HTTP/1.1 200 OK") == 1
    answer = talk(port, b"GET /plain HTTP/1.0\r\nhost: x\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"connection: close\r\n" in answer


def test_the_application_hears_that_the_client_left(port: int) -> None:
    gone.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(GET % b"left")
    assert gone.wait(10)


def test_a_silent_connection_is_closed_and_one_that_is_used_is_not() -> None:
    with server(timeout_keep_alive=1) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        for _ in range(3):
            sock.sendall(GET % b"plain")
            assert sock.recv(65536).endswith(b"hello")
            threading.Event().wait(0.6)
        assert sock.recv(65536) == b""


def test_more_than_the_server_takes_is_refused() -> None:
    with server(limit_concurrency=1) as port:
        assert talk(port, GET % b"plain").startswith(b"HTTP/1.1 503 ")
