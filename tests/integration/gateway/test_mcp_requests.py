"""Odd requests by raw HTTP: the answers that the specification and the official server give, and what is recorded."""

from __future__ import annotations

import json
import socket

import httpx
import pytest

from calls import timings
from tests.integration.gateway.conftest import META, Stage, body_of


def post(stage: Stage, content: bytes, headers: dict[str, str] | list[tuple[str, str]], server: str = "ok"):
    return httpx.post(f"{stage.base}/mcp/{server}", content=content, headers=headers, timeout=10)


def error_of(response: httpx.Response) -> tuple[int, int]:
    return response.status_code, response.json()["error"]["code"]


CALL = body_of("tools/call", {"name": "echo", "arguments": {}})


def test_a_modern_tool_call_is_answered_recorded_and_priced(stage: Stage) -> None:
    response = stage.call("ok", text="hello")
    assert response.status_code == 200
    assert response.json()["result"]["content"][0]["text"] == "done"
    row = stage.row(response)
    assert (row["method"], row["tool"], row["outcome"], row["allowed"]) == ("tools/call", "echo", "ok", True)
    assert (row["billable"], str(row["price"]), row["currency"]) == (True, "0.0200000000", "USD")
    assert (row["protocol"], row["client"], row["interface"]) == ("2026-07-28", "test/1", "mcp")
    assert row["server_id"] == stage.servers["ok"].server_id
    assert row["grant_id"] is not None
    assert len(row["arguments_digest"]) == 64
    assert row["latency_ms"] > 0


def test_a_base64_name_is_decoded_before_it_is_compared(stage: Stage) -> None:
    assert post(stage, CALL, stage.modern("tools/call", "=?base64?ZWNobw==?=")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"mcp-name": "add"}, "another name"),
        ({"mcp-name": ""}, "no name"),
        ({"mcp-name": "=?base64?ZWNobw?="}, "bad base64"),
        ({"mcp-name": "ECHO"}, "another case"),
        ({"mcp-method": "tools/list"}, "another method"),
        ({"mcp-method": ""}, "no method"),
        ({"mcp-protocol-version": "2099-01-01"}, "another version"),
    ],
)
def test_a_header_that_disagrees_with_the_body_is_refused_and_recorded(
    stage: Stage, headers: dict[str, str], why: str
) -> None:
    seen = len(stage.upstream.requests)
    response = post(stage, CALL, {**stage.modern("tools/call", "echo"), **headers})
    assert error_of(response) == (400, -32020), why
    assert stage.row(response)["reason"] == "request_invalid"
    assert len(stage.upstream.requests) == seen


@pytest.mark.parametrize("name", ["mcp-name", "mcp-method", "mcp-protocol-version", "authorization"])
def test_a_routing_header_sent_twice_is_refused(stage: Stage, name: str) -> None:
    headers = stage.modern("tools/call", "echo")
    assert post(stage, CALL, [*headers.items(), (name, headers[name])]).status_code == 400


@pytest.mark.parametrize(
    "lines",
    [
        ["host: evil.example"],
        ["content-length: 5"],
        ["transfer-encoding: chunked"],
        ["mcp-name: echo\x00"],
        ["mcp-name : echo"],
    ],
)
def test_bytes_that_two_servers_could_frame_differently_never_reach_the_upstream(
    stage: Stage, lines: list[str]
) -> None:
    seen = len(stage.upstream.requests)
    headers = [f"{name}: {value}" for name, value in stage.modern("tools/call", "echo").items()]
    head = ["POST /mcp/ok HTTP/1.1", "host: 127.0.0.1", *headers, f"content-length: {len(CALL)}", *lines, "", ""]
    assert status_of(stage, "\r\n".join(head).encode() + CALL) == 400
    assert len(stage.upstream.requests) == seen


def status_of(stage: Stage, data: bytes) -> int:
    with socket.create_connection(("127.0.0.1", int(stage.base.rpartition(":")[2])), timeout=5) as conn:
        conn.sendall(data)
        return int(conn.recv(4096).split(b" ", 2)[1])


def test_a_modern_request_without_meta_is_refused(stage: Stage) -> None:
    content = body_of("tools/call", {"name": "echo"}, modern=False)
    assert error_of(post(stage, content, stage.modern("tools/call", "echo"))) == (400, -32602)


def test_a_version_that_nobody_serves_is_answered_by_the_server(stage: Stage) -> None:
    meta = {**META, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    content = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}, separators=(",", ":")
    ).encode()
    headers = {**stage.modern("tools/list"), "mcp-protocol-version": "2099-01-01"}
    response = post(stage, content, headers, "sdk")
    assert error_of(response) == (400, -32022)
    assert "2026-07-28" in response.json()["error"]["data"]["supported"]


@pytest.mark.parametrize("method", ["initialize", "ping"])
def test_handshake_methods_under_the_modern_header_are_unknown_to_the_server(stage: Stage, method: str) -> None:
    assert error_of(post(stage, body_of(method), stage.modern(method), "sdk")) == (404, -32601)


def test_a_method_that_is_not_of_the_protocol_is_denied_by_the_gateway(stage: Stage) -> None:
    response = post(stage, body_of("secrets/list"), stage.modern("secrets/list"))
    assert error_of(response) == (404, -32601)
    assert stage.row(response)["reason"] == "method_unknown"


def test_a_modern_client_may_not_send_responses(stage: Stage) -> None:
    content = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    assert error_of(post(stage, content, stage.modern("x"))) == (400, -32600)


def test_get_and_delete_under_the_modern_header_are_not_allowed(stage: Stage) -> None:
    for method in ("GET", "DELETE", "PUT"):
        response = httpx.request(method, f"{stage.base}/mcp/sdk", headers=stage.modern("x"))
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', -32700),
        (b"\xff\xfe", -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'"ping"', -32600),
        (b'{"id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', -32600),
    ],
)
def test_what_is_no_message_is_refused_before_anything_is_decided(stage: Stage, content: bytes, code: int) -> None:
    rows = len(stage.rows())
    assert error_of(post(stage, content, stage.headers())) == (400, code)
    assert len(stage.rows()) == rows


@pytest.mark.parametrize(
    "content",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"tools/list","params":{"name":"echo"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"erase"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","\\u006eame":"erase"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Name":"erase"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},"Params":{"name":"erase"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},"param\xc5\xbf":{"name":"erase"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":1e2,"a":2}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":'
        + b"[" * 70
        + b"]" * 70
        + b"}}",
    ],
)
def test_a_message_that_two_parsers_could_read_differently_is_refused(stage: Stage, content: bytes) -> None:
    seen = len(stage.upstream.requests)
    response = post(stage, content, stage.headers())
    assert error_of(response) == (400, -32600)
    assert len(stage.upstream.requests) == seen


def test_a_repeated_key_is_recorded_as_an_invalid_request(stage: Stage) -> None:
    content = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"erase"}}'
    row = stage.row(post(stage, content, stage.headers()))
    assert (row["allowed"], row["reason"], row["outcome"], row["price"]) == (False, "request_invalid", "denied", 0)


def test_five_megabytes_are_refused_with_a_clear_answer(stage: Stage) -> None:
    text = "x" * 5_000_000
    response = post(stage, body_of("tools/call", {"name": "echo", "arguments": {"text": text}}), stage.headers())
    assert response.status_code == 413
    assert response.json()["error"]["data"]["code"] == "gateway.too_large"


def test_an_oversize_body_without_a_length_is_cut_while_it_arrives(stage: Stage) -> None:
    def parts():
        for _ in range(20):
            yield b" " * 100_000

    response = httpx.post(f"{stage.base}/mcp/ok", content=parts(), headers=stage.headers(), timeout=10)
    assert response.status_code == 413


def test_another_media_type_is_refused(stage: Stage) -> None:
    assert post(stage, CALL, {**stage.headers(), "content-type": "text/plain"}).status_code == 415


def test_a_client_that_reads_only_json_is_told_so(stage: Stage) -> None:
    assert post(stage, CALL, {**stage.headers(), "accept": "application/json"}).status_code == 406


def test_a_foreign_host_or_origin_is_refused(stage: Stage) -> None:
    headers = stage.modern("tools/call", "echo")
    assert post(stage, CALL, {**headers, "host": "evil.example"}).status_code == 421
    assert post(stage, CALL, {**headers, "host": "127.0.0.1@evil.example"}).status_code in {400, 421}
    assert post(stage, CALL, {**headers, "origin": "https://evil.example"}).status_code == 403
    assert post(stage, CALL, {**headers, "origin": "null"}).status_code == 403
    assert post(stage, CALL, {**headers, "origin": "http://localhost:3000"}).status_code == 200


def test_too_many_headers_are_refused(stage: Stage) -> None:
    more = {f"x-filler-{number}": "y" for number in range(120)}
    assert post(stage, CALL, {**stage.modern("tools/call", "echo"), **more}).status_code == 400


def test_connection_may_not_name_a_header_that_is_forwarded(stage: Stage) -> None:
    headers = {**stage.modern("tools/call", "echo"), "connection": "keep-alive, mcp-name"}
    assert post(stage, CALL, headers).status_code == 400


def test_a_tool_call_without_a_name_is_refused(stage: Stage) -> None:
    content = body_of("tools/call", {"arguments": {}}, modern=False)
    assert error_of(post(stage, content, stage.headers())) == (400, -32602)


def test_the_path_names_one_server_only(stage: Stage) -> None:
    for path in ("/mcp/ok/extra", "/mcp/OK", "/mcp/..%2fok", "/mcp/%00"):
        response = httpx.post(stage.base + path, content=CALL, headers=stage.modern("tools/call", "echo"))
        assert error_of(response) == (404, 40400), path


def test_the_row_says_when_each_step_of_the_call_ended(stage: Stage) -> None:
    row = stage.row(stage.call("ok"))
    steps = timings.decode(row["timings"])
    assert {"authenticate", "body", "decide", "first_byte", "reply"} <= {step.name for step in steps}
    assert steps[-1].began_us + steps[-1].took_us <= row["latency_ms"] * 1000
    assert (row["credential"], row["upstream_protocol"]) == ("key", "2026-07-28")


# Browsers


def preflight(stage: Stage, origin: str, asked: str, path: str = "/mcp/ok") -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": asked,
    }
    return httpx.options(f"{stage.base}{path}", headers=headers)


def test_a_browser_may_ask_and_send_what_clients_send(stage: Stage) -> None:
    asked = "Authorization, content-type,mcp-session-id, Mcp-Param-Region, x-evil"
    for path in ("/mcp/ok", "/mcp", "/ok/mcp", "/v1/invoke"):
        response = preflight(stage, "http://localhost:6274", asked, path)
        assert response.status_code == 204, path
        assert response.headers["access-control-allow-origin"] == "http://localhost:6274"
        allowed = response.headers["access-control-allow-headers"].split(", ")
        assert allowed == ["authorization", "content-type", "mcp-param-region", "mcp-session-id"]
        assert "POST" in response.headers["access-control-allow-methods"]
        assert "origin" in response.headers["vary"]
        assert "access-control-allow-credentials" not in response.headers


def test_pages_of_other_origins_may_neither_ask_nor_read(stage: Stage) -> None:
    for origin in ("https://evil.example", "null", "https://localhost.evil.example", "https://page.example:444"):
        response = preflight(stage, origin, "authorization")
        assert response.status_code == 403, origin
        assert not any(name.startswith("access-control") for name in response.headers)
    bare = httpx.options(f"{stage.base}/mcp/ok")
    assert bare.status_code == 405


def test_every_kind_of_answer_can_be_read_by_an_allowed_page(stage: Stage) -> None:
    for server in ("ok", "stream", "hang-no-such"):
        response = httpx.post(
            f"{stage.base}/mcp/{server}",
            content=body_of("tools/call", {"name": "echo", "arguments": {}}),
            headers=stage.modern("tools/call", "echo", origin="http://127.0.0.1:6274"),
            timeout=10,
        )
        assert response.headers["access-control-allow-origin"] == "http://127.0.0.1:6274", server
        assert "mcp-session-id" in response.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in stage.call("ok").headers
