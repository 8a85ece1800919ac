"""The official client through the gateway, in both eras: what it lists, calls, streams, and how a refusal reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.integration.gateway.conftest import Stage, body_of

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


def with_client(stage: Stage, mode: str, act: Callable[[Client], Awaitable[Any]], server: str = "sdk") -> Any:
    async def run() -> Any:
        async with connected(stage, mode, server) as client:
            return await act(client)

    return asyncio.run(run())


@asynccontextmanager
async def connected(stage: Stage, mode: str, server: str) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {stage.token}"}, timeout=10) as http:
        transport = streamable_http_client(f"{stage.base}/mcp/{server}", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


@MODES
def test_the_client_lists_and_calls_tools(stage: Stage, mode: str) -> None:
    async def act(client: Client) -> tuple[list[str], Any]:
        tools = await client.list_tools()
        result = await client.call_tool("add", {"a": 1, "b": 2})
        return [tool.name for tool in tools.tools], result.structured_content

    assert with_client(stage, mode, act) == (["echo", "add", "fail", "slow"], {"result": 3})
    methods = {"auto": "server/discover", "legacy": "initialize"}
    assert methods[mode] in [row["method"] for row in stage.rows()]


@MODES
def test_a_refusal_reaches_the_client_as_an_error_with_its_reason(stage: Stage, mode: str) -> None:
    async def act(client: Client) -> Any:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("erase", {})
        # The conversation goes on after it.
        return caught.value, await client.call_tool("add", {"a": 2, "b": 2})

    error, result = with_client(stage, mode, act)
    assert "destructive" in str(error)
    assert error.error.code == 40300
    assert error.error.data["reason"] == "side_effect_not_allowed"
    assert error.error.data["next_step"]
    assert result.structured_content == {"result": 4}


@MODES
def test_progress_arrives_while_the_tool_runs(stage: Stage, mode: str) -> None:
    seen: list[float] = []

    async def act(client: Client) -> Any:
        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        return await client.call_tool("slow", {"steps": 3}, progress_callback=note)

    assert with_client(stage, mode, act).structured_content == {"result": "done"}
    assert seen == [1, 2, 3]


@MODES
def test_an_error_of_the_tool_is_not_billed(stage: Stage, mode: str) -> None:
    async def act(client: Client) -> Any:
        return await client.call_tool("fail", {})

    assert with_client(stage, mode, act).is_error is True
    row = next(row for row in reversed(stage.rows()) if row["tool"] == "fail")
    assert (row["outcome"], row["billable"]) == ("tool_error", False)


@MODES
def test_a_server_that_is_away_is_an_error_and_no_crash(stage: Stage, mode: str) -> None:
    async def act(client: Client) -> None:
        raise AssertionError("connected to a server that is away")

    with pytest.raises((MCPError, ExceptionGroup)):
        with_client(stage, mode, act, "reset")


def test_a_session_is_sealed_and_useless_with_another_key(stage: Stage) -> None:
    sealed = open_session(stage, stage.token)
    again = list_tools(stage, stage.token, sealed)
    assert again.status_code == 200
    for token, session in (
        (stage.world.key(stage.acme)[0], sealed),
        (stage.token, sealed[:-2] + ("AA" if not sealed.endswith("AA") else "BB")),
        (stage.token, "plain-session-id"),
        (stage.token, sealed.partition(".")[0]),
    ):
        if token != stage.token:
            key = next(k for k in stage.world.loader.tenants[stage.acme.tenant_id].keys.values() if k.key_id in token)
            stage.world.grant(stage.acme, stage.servers["sdk"], key)
        response = list_tools(stage, token, session)
        assert response.status_code == 404, (token, session)
        assert response.json()["error"]["code"] == -32600
        assert response.json()["error"]["message"].startswith("Session not found")
    # A request without a session is the server's to refuse.
    assert list_tools(stage, stage.token, None).status_code == 400


def test_a_session_of_another_server_is_unknown(stage: Stage) -> None:
    sealed = open_session(stage, stage.token)
    assert list_tools(stage, stage.token, sealed, "ok").status_code == 404


def test_a_session_ends_with_delete_and_is_unknown_after(stage: Stage) -> None:
    sealed = open_session(stage, stage.token)
    headers = {**stage.headers(), "mcp-session-id": sealed, "mcp-protocol-version": "2025-11-25"}
    assert httpx.delete(f"{stage.base}/mcp/sdk", headers=headers).status_code == 200
    assert list_tools(stage, stage.token, sealed).status_code == 404


def test_the_session_column_ties_calls_together_without_the_servers_id(stage: Stage) -> None:
    sealed = open_session(stage, stage.token)
    row = stage.row(list_tools(stage, stage.token, sealed))
    assert row["session_id"]
    assert row["session_id"] in sealed


def open_session(stage: Stage, token: str) -> str:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    content = body_of("initialize", hello, modern=False)
    response = httpx.post(f"{stage.base}/mcp/sdk", content=content, headers=stage.headers(token))
    sealed = response.headers["mcp-session-id"]
    headers = {**stage.headers(token), "mcp-session-id": sealed}
    done = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    assert httpx.post(f"{stage.base}/mcp/sdk", content=done, headers=headers).status_code == 202
    return sealed


def list_tools(stage: Stage, token: str, sealed: str | None, server: str = "sdk") -> httpx.Response:
    headers = {**stage.headers(token), "mcp-protocol-version": "2025-11-25"}
    if sealed is not None:
        headers["mcp-session-id"] = sealed
    content = body_of("tools/list", None, modern=False)
    return httpx.post(f"{stage.base}/mcp/{server}", content=content, headers=headers)
