"""Odd requests over raw HTTP in both eras: status and JSON-RPC code as a server of the official SDK answers them itself."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.integration.gateway.conftest import META, Stage, body_of
from tests.support.upstreams import ornate

ADD = {"name": "add", "arguments": {"a": 1, "b": 2}}
MODERN = {"mcp-protocol-version": "2026-07-28"}
FAR = "2099-01-01"
FAR_META = {**META, "io.modelcontextprotocol/protocolVersion": FAR}
HELLO = {"capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}


def call(**headers: str) -> dict[str, str]:
    return {
        **MODERN,
        "mcp-method": "tools/call",
        "mcp-name": "add",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in call().items() if key != name}


def modern(method: str) -> dict[str, str]:
    return {**MODERN, "mcp-method": method}


def far(body: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, **body, "params": {"_meta": FAR_META}}).encode()


CALL = body_of("tools/call", ADD)
TABLE: dict[str, tuple[dict[str, str], bytes, int, int | None]] = {
    "a name in the header that is not the body's": (call(mcp_name="echo"), CALL, 400, -32020),
    "no name in the header": (without("mcp-name"), CALL, 400, -32020),
    "a method in the header that is not the body's": (call(mcp_method="tools/list"), CALL, 400, -32020),
    "a method in another case": (call(mcp_method="Tools/Call"), CALL, 400, -32020),
    "no method in the header": (without("mcp-method"), CALL, 400, -32020),
    "the newer header without _meta": (call(), body_of("tools/call", ADD, modern=False), 400, -32602),
    "a version of the far future": (
        {"mcp-protocol-version": FAR, "mcp-method": "server/discover"},
        far({"method": "server/discover"}),
        400,
        -32022,
    ),
    "initialize under the newer header": (modern("initialize"), body_of("initialize", {}), 404, -32601),
    "ping under the newer header": (modern("ping"), body_of("ping"), 404, -32601),
    "an encoded name": (call(mcp_name="=?base64?YWRk?="), CALL, 200, None),
    "a name that is badly encoded": (call(mcp_name="=?base64?YWR?="), CALL, 400, -32020),
    "a stray session id": (call(mcp_session_id="stray"), CALL, 200, None),
    "a batch": (call(), b"[" + CALL + b"]", 400, -32600),
    "no JSON": (call(), b"{", 400, -32700),
    "a foreign origin": (call(origin="https://evil.example"), CALL, 403, -32600),
    "a foreign host": (call(host="evil.example"), CALL, 421, -32600),
    "an unknown resource": (
        {**modern("resources/read"), "mcp-name": "no://where"},
        body_of("resources/read", {"uri": "no://where"}),
        400,
        -32602,
    ),
    "an unknown session": ({"mcp-session-id": "unknown"}, body_of("tools/list", modern=False), 404, -32600),
    "no session": ({}, body_of("tools/list", modern=False), 400, -32600),
}


@pytest.mark.parametrize("case", TABLE)
def test_an_odd_request_is_answered_as_the_protocol_says(stage: Stage, case: str) -> None:
    headers, body, status, code = TABLE[case]
    response = httpx.post(f"{stage.base}/mcp/sdk", content=body, headers=stage.headers() | headers, timeout=10)

    assert response.status_code == status, response.text
    assert response.json().get("error", {}).get("code") == code


@pytest.mark.parametrize("name", ["mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id"])
def test_a_routing_header_that_comes_twice_is_refused(stage: Stage, name: str) -> None:
    headers = [*(stage.headers() | call()).items(), (name, "add"), (name, "add")]
    response = httpx.post(f"{stage.base}/mcp/sdk", content=CALL, headers=headers, timeout=10)

    assert (response.status_code, response.json()["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize(
    ("proposed", "agreed"),
    [
        ("2026-07-28", "2025-11-25"),
        ("2025-11-25", "2025-11-25"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
    ],
)
def test_a_handshake_agrees_on_the_version(stage: Stage, proposed: str, agreed: str) -> None:
    body = body_of("initialize", {**HELLO, "protocolVersion": proposed}, modern=False)
    response = httpx.post(f"{stage.base}/mcp/sdk", content=body, headers=stage.headers(), timeout=10)

    assert (response.status_code, f'"protocolVersion":"{agreed}"' in response.text) == (200, True)


def test_the_newer_revision_has_no_stream_to_get(stage: Stage) -> None:
    response = httpx.get(f"{stage.base}/mcp/sdk", headers=stage.headers() | MODERN, timeout=10)

    assert response.status_code == 405


def test_events_reach_the_client_byte_for_byte(stage: Stage) -> None:
    response = stage.call("ornate-stream")
    answer = response.content.rpartition(b"data: ")[2].removesuffix(b"\r\n\r\n")

    assert "result" in json.loads(answer)
    assert response.content == b"".join(ornate(answer))
