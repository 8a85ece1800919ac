"""Requests that two HTTP parsers could frame or read differently: the server behind sees one call of one caller, or none.

Sent over raw sockets to the gateway's own port, as if no proxy stood in front of it.
"""

from __future__ import annotations

import re
import socket
import uuid

import pytest

from tests.integration.gateway.conftest import Stage, body_of

READ_S = 5


def exchange(stage: Stage, data: bytes) -> bytes:
    """Everything that comes back until the gateway closes or falls silent."""
    host, _, port = stage.base.removeprefix("http://").partition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=READ_S) as sock:
        sock.sendall(data)
        sock.settimeout(1.0)
        try:
            while part := sock.recv(65536):
                received += part
        except (TimeoutError, ConnectionResetError):
            pass
    return received


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def head(
    stage: Stage, *lines: str, path: str = "/mcp/ok", method: str = "POST", without: tuple[str, ...] = ()
) -> bytes:
    host = stage.base.removeprefix("http://")
    usual = {
        "host": host,
        "authorization": f"Bearer {stage.token}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "echo",
    }
    kept = [f"{name}: {value}" for name, value in usual.items() if name not in without]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *kept, *lines, "", ""]).encode("latin-1")


def call(text: str) -> bytes:
    return body_of("tools/call", {"name": "echo", "arguments": {"text": text}})


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def seen(stage: Stage, mark: str) -> int:
    return sum(mark.encode() in request.body for request in stage.upstream.requests)


BODY_HEADERS = {
    "both framings": ["content-length: {n}", "transfer-encoding: chunked"],
    "both framings the other way": ["transfer-encoding: chunked", "content-length: {n}"],
    "two lengths": ["content-length: {n}", "content-length: 3"],
    "two equal lengths": ["content-length: {n}", "content-length: {n}"],
    "a list of lengths": ["content-length: {n}, {n}"],
    "a signed length": ["content-length: +{n}"],
    "a negative length": ["content-length: -1"],
    "a hexadecimal length": ["content-length: 0x10"],
    "a length with text": ["content-length: {n}abc"],
    "an immense length": ["content-length: 99999999999999999999999"],
    "chunked twice": ["transfer-encoding: chunked, chunked"],
    "chunked not last": ["transfer-encoding: chunked, identity"],
    "an unknown coding": ["transfer-encoding: xchunked"],
    "a hidden coding": ["transfer-encoding : chunked"],
    "a coding after a tab": ["transfer-encoding:\tchunked", "content-length: {n}"],
    "a folded coding": ["transfer-encoding:\r\n chunked", "content-length: {n}"],
    "a coding by a bare line feed": ["x: y\ntransfer-encoding: chunked", "content-length: {n}"],
    "a coding by a bare carriage return": ["x: y\rtransfer-encoding: chunked", "content-length: {n}"],
}


@pytest.mark.parametrize("name", BODY_HEADERS)
def test_a_body_whose_end_is_in_doubt_smuggles_no_second_call(stage: Stage, name: str) -> None:
    mark, hidden = uuid.uuid4().hex, uuid.uuid4().hex
    body = call(mark)
    smuggled = head(stage, f"content-length: {len(call(hidden))}") + call(hidden)
    lines = [line.format(n=len(body)) for line in BODY_HEADERS[name]]
    answer = exchange(stage, head(stage, *lines) + chunked(body) + smuggled)

    # Either reading of the first request leaves its rest where the next one begins: nothing after it may be believed.
    assert seen(stage, hidden) == 0 or statuses(answer)[:1] == [200]
    assert seen(stage, mark) <= 1
    assert len(statuses(answer)) <= 2


DOUBLED = {
    "host": "host: evil.example",
    "authorization": "authorization: Bearer mk_test_x",
    "the key": "x-api-key: mk_test_x",
    "the method": "mcp-method: tools/list",
    "the name": "mcp-name: erase",
    "the version": "mcp-protocol-version: 2025-11-25",
    "the content type": "content-type: text/plain",
    "origin": "origin: https://evil.example",
}


@pytest.mark.parametrize("name", DOUBLED)
def test_a_header_that_decides_comes_once(stage: Stage, name: str) -> None:
    mark = uuid.uuid4().hex
    body = call(mark)
    answer = exchange(stage, head(stage, DOUBLED[name], f"content-length: {len(body)}", "connection: close") + body)

    assert statuses(answer)[0] >= 400
    assert seen(stage, mark) == 0


ODD_HEADERS = {
    "a control character in a name": "mcp-\x01name: erase",
    "a space before the colon": "mcp-name : erase",
    "a null in a value": "mcp-param-a: x\x00y",
    "a folded value": "mcp-param-a: x\r\n y",
    "a name with an underscore": "mcp_name: erase",
    "no name at all": ": erase",
    "no colon": "erase",
    "a connection header that takes another away": "connection: mcp-name",
}


@pytest.mark.parametrize("name", ODD_HEADERS)
def test_a_malformed_header_changes_nothing_or_ends_the_request(stage: Stage, name: str) -> None:
    mark = uuid.uuid4().hex
    body = call(mark)
    answer = exchange(stage, head(stage, ODD_HEADERS[name], f"content-length: {len(body)}", "connection: close") + body)

    for request in stage.upstream.requests:
        if mark.encode() in request.body:
            assert statuses(answer) == [200]
            assert request.header("mcp-name") == "echo"
            assert not any("\x00" in value or "\n" in value or "\r" in value for _, value in request.headers)
            assert request.header("mcp_name") is None


PATHS = [
    "//mcp/ok", "/mcp//ok", "/mcp/ok/", "/mcp/./ok", "/mcp/../mcp/ok", "/mcp/%2e%2e/mcp/ok", "/mcp/ok%2f", "/mcp/%6fk/..",
    "/mcp/ok;x=1", "/mcp/ok%00", "/mcp\\ok", "/MCP/ok", "/mcp/OK", "/mcp/ok%20", "/./mcp/ok", "/mcp/ok/../sdk", "/mcp/ｏk",
    "/mcp/ok%0d%0ax:y", "http://evil.example/mcp/ok", "*",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_path_has_one_spelling(stage: Stage, path: str) -> None:
    mark = uuid.uuid4().hex
    body = call(mark)
    request = head(stage, f"content-length: {len(body)}", "connection: close", path=path.encode().decode("latin-1"))
    answer = exchange(stage, request + body)

    if path.startswith("http://"):
        # The absolute form is a proxy's; the host that counts is the one of the header.
        assert seen(stage, mark) <= 1
    else:
        assert seen(stage, mark) == 0
        assert statuses(answer)[:1] != [200]


@pytest.mark.parametrize(
    "first_line", ["POST /mcp/ok HTTP/0.9", "POST /mcp/ok HTTP/2.0", "POST /mcp/ok", "PRI * HTTP/2.0"]
)
def test_another_version_of_the_transport_is_no_request(stage: Stage, first_line: str) -> None:
    mark = uuid.uuid4().hex
    body = call(mark)
    request = head(stage, f"content-length: {len(body)}", "connection: close").split(b"\r\n", 1)[1]
    answer = exchange(stage, first_line.encode() + b"\r\n" + request + body)

    assert seen(stage, mark) == 0
    assert 200 not in statuses(answer)


def test_an_upgrade_is_not_taken(stage: Stage) -> None:
    mark = uuid.uuid4().hex
    body = call(mark)
    lines = [
        "connection: upgrade, http2-settings",
        "upgrade: h2c",
        "http2-settings: AAMAAABkAAQAAP__",
        f"content-length: {len(body)}",
    ]
    answer = exchange(stage, head(stage, *lines) + body)

    assert 101 not in statuses(answer)
    assert seen(stage, mark) <= 1
