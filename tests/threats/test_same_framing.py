"""What nginx takes for one request, the gateway takes for the same one, or it refuses.

A proxy in front and the gateway behind it read one stream of bytes. Where they see its requests begin and end in different
places, one of them acts on what the other has never decided. Every stream here goes to both, as raw bytes: what nginx passes on
to a server of its own is held against what the gateway passes on to its server.
"""

from __future__ import annotations

import json
import re
import socket
import socketserver
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from bench import nginx
from bench.harness import BenchError, need_programs, work_folder
from marketplace.supervisor.ports import free_port
from tests.integration.gateway.conftest import Stage
from tests.support.processes import wait_until
from tests.threats.test_raw_http import BODY_HEADERS, DOUBLED, ODD_HEADERS, PATHS, call, chunked, head, statuses

SILENCE_S = 1.5
AT_ONCE = 8

# How a body may be written with `transfer-encoding: chunked`; {n} is its length in hexadecimal.
CHUNKS = {
    "one chunk": "{n}\r\n{body}\r\n0\r\n\r\n",
    "upper case": "{N}\r\n{body}\r\n0\r\n\r\n",
    "leading zeros": "0000{n}\r\n{body}\r\n0\r\n\r\n",
    "many leading zeros": "00000000000000000000{n}\r\n{body}\r\n0\r\n\r\n",
    "an extension": "{n};a=b\r\n{body}\r\n0\r\n\r\n",
    "an extension in quotes": '{n};a="b\r\n{body}\r\n0\r\n\r\n',
    "an extension with a line feed": "{n};a\n{body}\r\n0\r\n\r\n",
    "a space after the size": "{n} \r\n{body}\r\n0\r\n\r\n",
    "a space before the size": " {n}\r\n{body}\r\n0\r\n\r\n",
    "a tab after the size": "{n}\t\r\n{body}\r\n0\r\n\r\n",
    "a sign": "+{n}\r\n{body}\r\n0\r\n\r\n",
    "a minus": "-{n}\r\n{body}\r\n0\r\n\r\n",
    "a prefix": "0x{n}\r\n{body}\r\n0\r\n\r\n",
    "an underscore": "0_{n}\r\n{body}\r\n0\r\n\r\n",
    "no size": "\r\n{body}\r\n0\r\n\r\n",
    "a size beyond 64 bits": "f{zeros}{n}\r\n{body}\r\n0\r\n\r\n",
    "a size that wraps round": "1{zeros}{n}\r\n{body}\r\n0\r\n\r\n",
    "line feeds alone": "{n}\n{body}\n0\n\n",
    "a line feed after the size": "{n}\n{body}\r\n0\r\n\r\n",
    "a carriage return after the size": "{n}\r{body}\r\n0\r\n\r\n",
    "no line end after the data": "{n}\r\n{body}0\r\n\r\n",
    "other bytes after the data": "{n}\r\n{body}xx0\r\n\r\n",
    "a line feed after the last chunk": "{n}\r\n{body}\r\n0\n\n",
    "many zeros at the end": "{n}\r\n{body}\r\n0000\r\n\r\n",
    "a trailer": "{n}\r\n{body}\r\n0\r\nx: y\r\n\r\n",
    "a length in the trailer": "{n}\r\n{body}\r\n0\r\ncontent-length: 3\r\n\r\n",
    "a coding in the trailer": "{n}\r\n{body}\r\n0\r\ntransfer-encoding: chunked\r\n\r\n",
    "a folded trailer": "{n}\r\n{body}\r\n0\r\nx: y\r\n z\r\n\r\n",
    "a trailer without a colon": "{n}\r\n{body}\r\n0\r\nx\r\n\r\n",
    "no end": "{n}\r\n{body}\r\n",
    "half an end": "{n}\r\n{body}\r\n0\r\n",
}
CODINGS = [
    "transfer-encoding: Chunked", "transfer-encoding: chunked ", "transfer-encoding:chunked", "transfer-encoding: chunked;q=1",
    "transfer-encoding: gzip, chunked", "transfer-encoding: chunked, gzip", "transfer-encoding: identity",
    "transfer-encoding: \x0bchunked", "transfer-encoding: \"chunked\"", "transfer-encoding: chunked\x00",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "transfer-encoding:", "transfer-encoding: ,chunked", "transfer_encoding: chunked",
]  # fmt: skip
LENGTHS = [
    "content-length: 0{n}", "content-length:  {n}", "content-length: {n} ", "content-length:\t{n}", "content-length: {n}.0",
    "content-length: {n}e0", "content-length: 1_0", "content-length: \"{n}\"", "content-length: {n};x", "content-length:",
    "content-length: {n}\x00", "content-length: {n}\x0b", "content-length : {n}", " content-length: {n}", "content-length: {n}\n",
    "content_length: {n}", "content-length: 18446744073709551617", "content-length: 00000000000000000000000000000000{n}",
    "content-length: {n}\r\n x", "content-length: {n}\r\ncontent-length: 0{n}", "content-length: {n}\r\nContent-Length: {n}",
]  # fmt: skip
FIRST_LINES = [
    "POST  /mcp/ok HTTP/1.1", "POST /mcp/ok  HTTP/1.1", "POST\t/mcp/ok\tHTTP/1.1", "POST /mcp/ok HTTP/1.1 ",
    "post /mcp/ok HTTP/1.1", "POST /mcp/ok http/1.1", "POST /mcp/ok HTTP/1.10", "POST /mcp/ok HTTP/01.1",
    "POST /mcp/ok HTTP/1.0", "POST /mcp/ok HTTP/1", "POST /mcp/ok HTTP/1.2", "POST /mcp/ok HTTP/2.0",
    "POST /mcp/ok HTTP/0.9", "POST /mcp/ok", "PO ST /mcp/ok HTTP/1.1", "\r\nPOST /mcp/ok HTTP/1.1",
    "\nPOST /mcp/ok HTTP/1.1", " POST /mcp/ok HTTP/1.1", "POST /mcp/ok HTTP/1.1\r", "\x00POST /mcp/ok HTTP/1.1",
    "GET /mcp/ok HTTP/1.1", "PRI * HTTP/2.0", "POST /mcp/\x01ok HTTP/1.1", "POST /mcp/ok#x HTTP/1.1",
    "POST /mcp/ok?x HTTP/1.1",
]  # fmt: skip


Make = Callable[[Stage, bytes], bytes]


@dataclass
class Case:
    """A stream of bytes: one call, and behind it another one that must not hide in it."""

    name: str
    make: Make
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    hidden: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass
class Reading:
    bodies: list[bytes]  # that were passed on, in order
    answers: list[int]


def cases() -> Iterator[tuple[str, Make]]:
    for name, lines in BODY_HEADERS.items():
        yield f"framing: {name}", lambda stage, body, lines=lines: with_lines(stage, lines, body) + chunked(body)
        yield f"framing, plain: {name}", lambda stage, body, lines=lines: with_lines(stage, lines, body) + body
    for name, form in CHUNKS.items():
        yield (
            f"chunks: {name}",
            lambda stage, body, form=form: head(stage, "transfer-encoding: chunked") + written(form, body),
        )
    for coding in CODINGS:
        yield f"coding: {coding!r}", lambda stage, body, coding=coding: head(stage, coding) + chunked(body)
        yield (
            f"coding beside a length: {coding!r}",
            lambda stage, body, coding=coding: (
                head(stage, coding, f"content-length: {len(chunked(body))}") + chunked(body)
            ),
        )
    for length in LENGTHS:
        yield f"length: {length!r}", lambda stage, body, length=length: with_lines(stage, [length], body) + body
    for line in FIRST_LINES:
        yield (
            f"first line: {line!r}",
            lambda stage, body, line=line: (
                line.encode("latin-1") + b"\r\n" + plain(stage, body).split(b"\r\n", 1)[1] + body
            ),
        )
    for name, line in [*DOUBLED.items(), *ODD_HEADERS.items()]:
        yield f"header: {name}", lambda stage, body, line=line: plain(stage, body, line) + body
    for path in PATHS:
        yield (
            f"path: {path!r}",
            lambda stage, body, path=path: (
                head(stage, f"content-length: {len(body)}", path=path.encode().decode("latin-1")) + body
            ),
        )
    yield "line feeds alone", lambda stage, body: plain(stage, body).replace(b"\r\n", b"\n") + body
    yield "a line feed in the middle", lambda stage, body: plain(stage, body).replace(b"\r\nmcp-", b"\nmcp-", 1) + body
    yield "a line feed at the end", lambda stage, body: plain(stage, body)[:-2] + b"\n" + body
    yield "a carriage return alone", lambda stage, body: plain(stage, body).replace(b"\r\nmcp-", b"\rmcp-", 1) + body
    yield "a body without a length", lambda stage, body: head(stage) + body
    yield "a length that is too small", lambda stage, body: head(stage, f"content-length: {len(body) - 5}") + body
    yield "whoever waits for a word", lambda stage, body: plain(stage, body, "expect: 100-continue") + body
    yield "the usual", lambda stage, body: plain(stage, body) + body


def plain(stage: Stage, body: bytes, *more: str) -> bytes:
    return head(stage, *more, f"content-length: {len(body)}")


def with_lines(stage: Stage, lines: list[str], body: bytes) -> bytes:
    return head(stage, *(line.replace("{n}", str(len(body))) for line in lines))


def written(form: str, body: bytes) -> bytes:
    size = f"{len(body):x}"
    text = form.replace("{n}", size).replace("{N}", size.upper()).replace("{zeros}", "0" * (16 - len(size)))
    return text.encode().replace(b"{body}", body)


NAMES = [name for name, _ in cases()]


class Recorder(socketserver.StreamRequestHandler):
    """What nginx passes on: it writes every body with its length."""

    bodies: list[bytes]

    def handle(self) -> None:
        while request := self._head():
            found = re.search(rb"\r\ncontent-length: *([0-9]+)", request, re.IGNORECASE)
            self.bodies.append(self.rfile.read(int(found[1])) if found else b"")
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    def _head(self) -> bytes:
        lines = b""
        while line := self.rfile.readline():
            lines += line
            if line == b"\r\n":
                return lines
        return b""


@pytest.fixture(scope="module")
def proxy() -> Iterator[tuple[int, list[bytes]]]:
    """nginx as docs/production.md has it in front, and the bodies that it passed on."""
    try:
        need_programs("nginx")
    except BenchError as reason:
        pytest.skip(f"nginx is not to be had here: {reason}")
    bodies: list[bytes] = []
    handler = type("Handler", (Recorder,), {"bodies": bodies})
    with ExitStack() as stack:
        server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        port, folder = free_port(), stack.enter_context(work_folder())
        stack.enter_context(nginx.balancing(port, [server.server_address[1]], folder))
        wait_until(lambda: _accepts(port), "nginx")
        yield port, bodies


@pytest.fixture(scope="module")
def readings(stage: Stage, proxy: tuple[int, list[bytes]]) -> dict[str, tuple[Reading, Reading]]:
    """Of every stream: how nginx read it, and how the gateway did."""
    proxy_port, passed_on = proxy
    own_port = int(stage.base.rpartition(":")[2])
    all_cases = [Case(name, make) for name, make in cases()]

    def send(case: Case) -> tuple[list[int], list[int]]:
        body, hidden = call(case.mark), call(case.hidden)
        data = case.make(stage, body) + plain(stage, hidden) + hidden
        return answers(proxy_port, data), answers(own_port, data)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answered = list(pool.map(send, all_cases))
    acted_on = [request.body for request in stage.upstream.requests]
    return {
        case.name: (Reading(of(case, passed_on), by_nginx), Reading(of(case, acted_on), by_us))
        for case, (by_nginx, by_us) in zip(all_cases, answered, strict=True)
    }


def of(case: Case, bodies: list[bytes]) -> list[bytes]:
    return [body for body in bodies if case.mark.encode() in body or case.hidden.encode() in body]


def answers(port: int, data: bytes) -> list[int]:
    """Statuses of everything that comes back until the other side closes or falls silent."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.settimeout(SILENCE_S)
        try:
            sock.sendall(data)
            while part := sock.recv(65536):
                received += part
        except (TimeoutError, ConnectionError):
            pass
    return statuses(received)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


# nginx refuses these though RFC 9110 allows the space, the name or the target, and nothing in them casts doubt on the body.
ALLOWED = {"length: 'content-length:\\t{n}'", "path: '*'", "path: '/mcp/ok%00'"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ALLOWED])
def test_a_stream_of_bytes_has_one_reading(readings: dict[str, tuple[Reading, Reading]], name: str) -> None:
    theirs, ours = readings[name]
    # Whatever we act on is what nginx saw, in the same order and to the byte.
    seen = iter(theirs.bodies)
    assert all(body in seen for body in ours.bodies), (theirs, ours)
    if len(ours.bodies) < len(theirs.bodies):
        assert not ours.answers or max(ours.answers) >= 400


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_where_nginx_is_stricter_requests_end_where_they_say(
    readings: dict[str, tuple[Reading, Reading]], name: str
) -> None:
    theirs, ours = readings[name]
    assert theirs.bodies == []
    assert all(json.loads(body)["method"] == "tools/call" for body in ours.bodies)


def test_the_usual_is_read_in_full_by_both(readings: dict[str, tuple[Reading, Reading]]) -> None:
    for reading in readings["the usual"]:
        assert (len(reading.bodies), reading.answers) == (2, [200, 200])
