"""Clients of the handshake revisions in front of a server of 2026-07-28 alone, their requests going to two processes in turn."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult, PromptReference, Root, TextContent

from access.types import PolicyMode, ServerPolicy, SideEffect, ToolRule, Trust
from gateway.entries import TenantEntry
from tests.support.gateways import GatewayProcess, World, drop_schemas, make_call_tables, rows_of, serving
from tests.support.new_servers import BIG, TOOLS, NewServer
from tests.support.processes import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}


@dataclass
class Lab:
    """Two gateway processes in front of one server."""

    processes: tuple[GatewayProcess, GatewayProcess]
    app: NewServer
    acme: TenantEntry
    token: str
    stranger: str  # another key of the same organisation
    database_url: str
    _turn: Iterator[int] = field(default_factory=itertools.count)

    def base(self) -> str:
        """The next process's address."""
        return self.processes[next(self._turn) % 2].base

    def rows(self) -> list[dict[str, Any]]:
        return rows_of(self.database_url, self.acme.schema_name)

    def headers(self, **more: str) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.token}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }

    def post(self, message: Any, session: str = "", **more: str) -> httpx.Response:
        headers = self.headers(**({"mcp_session_id": session} if session else {}), **more)
        content = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", **message})
        return httpx.post(f"{self.base()}/mcp/new", content=content, headers=headers, timeout=20)

    def open(self, **hello: Any) -> str:
        response = self.post({"id": 0, "method": "initialize", "params": {**HELLO, **hello}})
        assert response.status_code == 200, response.text
        return response.headers["mcp-session-id"]


@pytest.fixture(scope="module")
def lab(urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    world, app = World(), NewServer()
    with serving(app) as port:
        acme, initech = world.tenant("acme"), world.tenant("initech")
        token, key = world.key(acme)
        stranger, other = world.key(acme)
        make_call_tables(urls[0], world.schemas)
        server = world.server("new", f"http://127.0.0.1:{port}/mcp", initech, protocol="2026-07-28")
        rules = {name: ToolRule(name, Trust.LOW, SideEffect.READ) for name in TOOLS}
        policy = ServerPolicy(server.server_id, PolicyMode.ALLOW_LIST, Trust.LOW, rules)
        server = replace(server, policy=policy, param_headers={"stock": {"/region": "Region"}})
        world.loader.servers[server.server_id] = server
        for each in (key, other):
            world.grant(acme, server, each)
        entries = tmp_path_factory.mktemp("lab") / "entries.json"
        entries.write_text(world.loader.dump())
        processes = GatewayProcess(entries, port), GatewayProcess(entries, port)
        try:
            lab = Lab(processes, app, world.loader.tenants[acme.tenant_id], token, stranger, urls[0])
            for process in processes:
                process.start()
            for process in processes:
                wait_until(lambda: answers_with_entries(lab, process), "a gateway process")  # noqa: B023
            yield lab
        finally:
            for process in processes:
                process.close()
    drop_schemas(urls[0], world.schemas)


def answers_with_entries(lab: Lab, process: GatewayProcess) -> bool:
    try:
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HELLO}
        response = httpx.post(f"{process.base}/mcp/new", json=hello, headers=lab.headers(), timeout=20)
    except httpx.TransportError:
        return False
    return response.status_code == 200 and "result" in response.json()


class Alternating(httpx2.AsyncBaseTransport):
    """Each request goes to the next process; one that is not there is passed over."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._inner = lab, httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        for last in (False, True):
            port = int(self._lab.base().rpartition(":")[2])
            request.url = request.url.copy_with(port=port)
            try:
                return await self._inner.handle_async_request(request)
            except httpx2.TransportError:
                if last:
                    raise
        raise AssertionError

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def client_of(lab: Lab, **options: Any) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {lab.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=20, transport=Alternating(lab)) as http:
        transport = streamable_http_client(f"{lab.base()}/mcp/new", http_client=http)
        async with Client(transport, mode="legacy", **options) as client:
            yield client


def with_client(lab: Lab, act: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        async with client_of(lab, **options) as client:
            return await act(client)

    return asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


# What an official client of the handshake sees


def test_the_handshake_tells_what_the_server_said_of_itself(lab: Lab) -> None:
    async def act(client: Client) -> Any:
        return client.server_info, client.server_capabilities, client.instructions, client.protocol_version

    lab.app.received.clear()
    info, capabilities, instructions, version = with_client(lab, act)
    assert (info.name, info.version, info.title) == ("new", "2.0", "New")
    assert capabilities.resources.subscribe is True
    assert capabilities.logging is not None
    assert (instructions, version) == ("Be kind.", "2025-11-25")
    assert "initialize" not in lab.app.methods()


def test_lists_reads_prompts_and_completions(lab: Lab) -> None:
    async def act(client: Client) -> None:
        names, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            names += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert names == TOOLS
        resources = await client.list_resources()
        second = await client.list_resources(cursor=resources.next_cursor)
        assert [str(resources.resources[0].uri), str(second.resources[0].uri)] == ["test://0", "test://1"]
        assert (await client.list_resource_templates()).resource_templates[0].name == "any"
        assert (await client.read_resource("test://1")).contents[0].text == "content"
        assert (await client.list_prompts()).prompts[0].name == "greet"
        prompt = await client.get_prompt("greet", {"who": "Zoë"})
        assert prompt.messages[0].content.text == "Hello Zoë"
        found = await client.complete(PromptReference(type="ref/prompt", name="greet"), {"name": "who", "value": "a"})
        assert found.completion.values == ["ax"]
        with pytest.raises(MCPError) as caught:
            await client.read_resource("other://1")
        assert (caught.value.error.code, caught.value.error.data) == (-32602, {"uri": "other://1"})
        await client.send_ping()

    with_client(lab, act)


def test_progress_and_log_messages_arrive_while_the_tool_runs(lab: Lab) -> None:
    steps: list[float] = []
    logs: list[str] = []

    async def log(params: Any) -> None:
        logs.append(params.level)

    async def progress(step: float, total: float | None, message: str | None) -> None:
        steps.append(step)

    async def act(client: Client) -> None:
        await client.call_tool("slow", {}, progress_callback=progress)
        assert steps == [1, 2, 3]
        await client.call_tool("chatty", {})
        assert logs == ["info", "notice", "warning", "error", "critical", "alert", "emergency"]
        logs.clear()
        await client.set_logging_level("alert")
        # Whichever process the next ones reach, the level is known there.
        for _ in range(4):
            await client.call_tool("chatty", {})
        assert logs == ["alert", "emergency"] * 4

    with_client(lab, act, logging_callback=log)


def test_questions_of_the_server_are_answered_through_any_process(lab: Lab) -> None:
    async def elicit(context: Any, params: Any) -> ElicitResult:
        if params.mode == "url":
            assert params.elicitation_id
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content={"copies": 2})

    async def sample(context: Any, params: Any) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", model="m", content=TextContent(type="text", text="hi"))

    async def roots(context: Any) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri="file:///a", name="a")])

    async def act(client: Client) -> None:
        for _ in range(2):
            asked = (await client.call_tool("ask", {"n": 1})).structured_content
            accepted = {"action": "accept", "content": {"copies": 2}}
            assert asked == {"arguments": {"n": 1}, "responses": {"a": accepted, "b": accepted}, "state": "s:1"}
            url = (await client.call_tool("ask_url", {})).structured_content
            assert url["responses"]["a"]["action"] == "decline"
            said = (await client.call_tool("sample", {})).structured_content
            assert said["responses"]["a"]["content"]["text"] == "hi"
            listed = (await client.call_tool("roots", {})).structured_content
            assert listed["responses"]["b"]["roots"][0]["uri"] == "file:///a"

    before = len(lab.rows())
    with_client(lab, act, elicitation_callback=elicit, sampling_callback=sample, list_roots_callback=roots)
    asked = [row for row in lab.rows()[before:] if row["method"] == "tools/call"]
    assert [row["attempts"] for row in asked] == [2] * 8, "however many rounds: one call"
    assert all(row["billable"] and row["outcome"] == "ok" for row in asked)


def test_a_server_that_wants_to_be_asked_again_is(lab: Lab) -> None:
    async def act(client: Client) -> Any:
        return (await client.call_tool("again", {})).structured_content

    assert with_client(lab, act)["state"] == "later"


def test_what_a_client_did_not_declare_it_is_never_asked(lab: Lab) -> None:
    async def act(client: Client) -> None:
        with pytest.raises(MCPError, match="did not declare"):
            await client.call_tool("sample", {})

    with_client(lab, act)


def test_a_client_that_refuses_ends_the_call(lab: Lab) -> None:
    from mcp.types import ErrorData

    async def refuse(context: Any, params: Any) -> ErrorData:
        return ErrorData(code=-1, message="User rejected the request")

    async def act(client: Client) -> None:
        with pytest.raises(MCPError, match="User rejected"):
            await client.call_tool("sample", {})
        asked = (await client.call_tool("ask", {})).structured_content
        assert asked["responses"]["a"] == {"action": "cancel"}

    with_client(lab, act, sampling_callback=refuse, elicitation_callback=refuse)


def test_a_server_that_never_stops_asking_is_stopped(lab: Lab) -> None:
    count = 0

    async def elicit(context: Any, params: Any) -> ElicitResult:
        nonlocal count
        count += 1
        return ElicitResult(action="accept", content={"copies": count})

    async def act(client: Client) -> None:
        with pytest.raises(MCPError):
            await client.call_tool("insist", {})

    with_client(lab, act, elicitation_callback=elicit)
    assert count == 20, "ten rounds of two questions"


def test_changes_are_heard_on_the_listening_stream(lab: Lab) -> None:
    heard: list[str] = []

    async def note(message: Any) -> None:
        heard.append(type(message).__name__ + str(getattr(getattr(message, "params", None), "uri", "")))

    async def act(client: Client) -> None:
        lists = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
        await until(lambda: lab.app.filters() == [lists])
        lab.app.change_tools()
        await until(lambda: "ToolListChangedNotification" in heard)
        await client.subscribe_resource("test://1")
        await until(lambda: lab.app.filters() == [{**lists, "resourceSubscriptions": ["test://1"]}])
        await client.subscribe_resource("test://2")
        await until(
            lambda: [wanted.get("resourceSubscriptions") for wanted in lab.app.filters()] == [["test://1", "test://2"]]
        )
        lab.app.touch("test://2")
        await until(lambda: "ResourceUpdatedNotificationtest://2" in heard)
        await client.unsubscribe_resource("test://2")
        await until(lambda: [wanted.get("resourceSubscriptions") for wanted in lab.app.filters()] == [["test://1"]])

    with_client(lab, act, message_handler=note)
    wait_until(lambda: lab.app.filters() == [], "the listening to end with the session")


def test_a_change_right_after_a_subscription_was_answered_is_heard(lab: Lab) -> None:
    heard: list[str] = []

    async def note(message: Any) -> None:
        heard.append(str(getattr(getattr(message, "params", None), "uri", "")))

    async def act(client: Client) -> None:
        await until(lambda: len(lab.app.filters()) == 1)
        for number in range(6):
            await client.subscribe_resource(f"test://{number}")
            for earlier in range(number + 1):
                lab.app.touch(f"test://{earlier}")
            await until(lambda: f"test://{number}" in heard)  # noqa: B023

    with_client(lab, act, message_handler=note)


def test_every_digit_and_every_unknown_member_survives(lab: Lab) -> None:
    session = lab.open()
    call = {"name": "echo", "arguments": {"big": BIG}, "own": {"x": 1}, "_meta": {"com.example/x": 1}}
    response = lab.post({"id": "a", "method": "tools/call", "params": call}, session)
    result = response.json()["result"]
    assert (result["structuredContent"]["arguments"], result["extra"]) == ({"big": BIG}, BIG)
    asked = lab.app.last("tools/call")["params"]
    assert (asked["own"], asked["_meta"]["com.example/x"]) == ({"x": 1}, 1)
    assert asked["_meta"]["io.modelcontextprotocol/clientInfo"] == {"name": "raw", "version": "1"}


def test_marked_arguments_are_mirrored_in_headers(lab: Lab) -> None:
    async def act(client: Client) -> None:
        for region in ("eu", "Zürich"):
            assert (await client.call_tool("stock", {"region": region})).is_error is False
        await client.call_tool("stock", {})

    with_client(lab, act)


# Negative lines


def test_versions_are_negotiated(lab: Lab) -> None:
    for proposed, agreed in (
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ):
        response = lab.post({"id": 1, "method": "initialize", "params": {**HELLO, "protocolVersion": proposed}})
        assert response.json()["result"]["protocolVersion"] == agreed, proposed
        row = next(row for row in lab.rows() if str(row["call_id"]) == response.headers["x-marketplace-call-id"])
        assert (row["method"], row["protocol"], row["outcome"]) == ("initialize", agreed, "ok")


def test_a_request_needs_a_session_that_is_its_own(lab: Lab) -> None:
    ping = {"id": 1, "method": "ping"}
    session = lab.open()
    assert lab.post(ping, session).json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    missing = lab.post(ping)
    assert (missing.status_code, missing.json()["error"]["code"]) == (400, -32600)
    altered = session[:-1] + ("A" if session[-1] != "A" else "B")
    for unknown in ("nobody", altered, session.partition(".")[0], "~", "~.", "~x.y"):
        response = lab.post(ping, unknown)
        assert (response.status_code, response.json()["error"]["code"]) == (404, -32600), unknown
        assert response.json()["error"]["message"].startswith("Session not found")
    foreign = lab.post(ping, session, authorization=f"Bearer {lab.stranger}")
    assert foreign.status_code == 404


def test_a_session_ends_with_delete_everywhere(lab: Lab) -> None:
    session = lab.open()
    for _ in range(2):
        assert lab.post({"id": 1, "method": "ping"}, session).status_code == 200
    done = httpx.delete(f"{lab.base()}/mcp/new", headers=lab.headers(mcp_session_id=session))
    assert done.status_code == 200
    wait_until(lambda: lab.post({"id": 1, "method": "ping"}, session).status_code == 404, "one process")
    wait_until(lambda: lab.post({"id": 1, "method": "ping"}, session).status_code == 404, "the other process")
    assert httpx.delete(f"{lab.base()}/mcp/new", headers=lab.headers(mcp_session_id=session)).status_code == 404
    assert httpx.get(f"{lab.base()}/mcp/new", headers=lab.headers(mcp_session_id=session)).status_code == 404


def test_odd_messages_inside_a_session(lab: Lab) -> None:
    session = lab.open()
    for message, status, code in (
        ({"id": 1, "method": "no/such"}, 200, -32601),
        ({"id": 1, "method": "server/discover"}, 200, -32601),
        ({"id": 1, "method": "subscriptions/listen", "params": {"notifications": {}}}, 200, -32601),
        ({"id": 1, "method": "logging/setLevel", "params": {"level": "loud"}}, 400, -32602),
        ({"id": 1, "method": "resources/subscribe", "params": {}}, 400, -32602),
        ({"id": 1, "method": "resources/read", "params": {"uri": "other://1"}}, 200, -32602),
        ({"id": "nobody.asked", "result": {}}, 400, -32600),
        ({"id": 7, "result": {}}, 400, -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 400, -32600),
        (b"{not json", 400, -32700),
    ):
        response = lab.post(message, session)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code), message
    for method in ("initialized", "roots/list_changed", "progress", "cancelled", "unknown"):
        response = lab.post({"method": f"notifications/{method}"}, session)
        assert (response.status_code, response.content) == (202, b""), method
    for version in ("2025-03-26", "2025-11-25"):
        assert lab.post({"id": 1, "method": "ping"}, session, mcp_protocol_version=version).status_code == 200
    assert lab.post({"id": 1, "method": "ping"}, session, mcp_protocol_version="tomorrow").status_code == 400
    assert httpx.get(f"{lab.base()}/mcp/new", headers=lab.headers()).status_code == 400
    only_json = httpx.get(
        f"{lab.base()}/mcp/new", headers={**lab.headers(mcp_session_id=session), "accept": "application/json"}
    )
    assert only_json.status_code == 406


def test_a_handshake_must_say_what_it_wants(lab: Lab) -> None:
    for params in ({}, {**HELLO, "capabilities": None}, {**HELLO, "clientInfo": "x"}, {**HELLO, "protocolVersion": 1}):
        response = lab.post({"id": 1, "method": "initialize", "params": params})
        assert (response.status_code, response.json()["error"]["code"]) == (400, -32602), params
    huge = {**HELLO, "clientInfo": {"name": "n" * 5000, "version": "1", "icons": ["x" * 5000]}}
    assert lab.post({"id": 1, "method": "initialize", "params": huge}).status_code == 200
    import random

    noise = {f"{number}{random.random()}": {} for number in range(500)}
    response = lab.post({"id": 1, "method": "initialize", "params": {**HELLO, "capabilities": noise}})
    assert response.status_code == 400


# Leaving, cancelling, dying


def test_a_call_is_cancelled_from_whichever_process_the_word_reaches(lab: Lab) -> None:
    session, stranger = lab.open(), lab.open()
    left, asked = lab.app.left, lab.app.methods().count("tools/call")
    url = f"{lab.processes[1].base}/mcp/new"

    def hang() -> httpx.Response:
        call = {"jsonrpc": "2.0", "id": 42, "method": "tools/call", "params": {"name": "hang", "arguments": {}}}
        headers = lab.headers(mcp_session_id=session)
        return httpx.post(f"{lab.processes[0].base}/mcp/new", json=call, headers=headers, timeout=30)

    def cancel(name: str, request_id: Any) -> None:
        message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}
        assert httpx.post(url, json=message, headers=lab.headers(mcp_session_id=name)).status_code == 202

    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(hang)
        wait_until(lambda: lab.app.methods().count("tools/call") > asked, "the call at the server")
        for name, request_id in ((stranger, 42), (session, "42"), (session, 43), (session, None)):
            cancel(name, request_id)
        assert lab.app.left == left, "only its own session and its own id cancel a call"
        cancel(session, 42)
        response = hanging.result(30)
    assert (response.status_code, response.content) == (200, b""), "no answer to what was cancelled"
    wait_until(lambda: lab.app.left == left + 1, "the server to notice")
    row = next(row for row in lab.rows() if str(row["call_id"]) == response.headers["x-marketplace-call-id"])
    assert (row["outcome"], row["billable"]) == ("unknown", False)
    assert row["error"].startswith("upstream.cancelled")


def test_a_client_that_only_leaves_cancels_nothing(lab: Lab) -> None:
    session, left, asked = lab.open(), lab.app.left, lab.app.methods().count("tools/call")
    before = len(lab.rows())
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "again", "arguments": {}}})
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{lab.base()}/mcp/new", content=body, headers=lab.headers(mcp_session_id=session), timeout=0.3)
    wait_until(lambda: lab.app.methods().count("tools/call") == asked + 2, "the second round")
    wait_until(lambda: [row for row in lab.rows()[before:] if row["tool"] == "again"] != [], "the row")
    assert next(row for row in lab.rows()[before:] if row["tool"] == "again")["outcome"] == "ok"
    assert lab.app.left == left


def test_a_session_survives_the_death_of_a_process(lab: Lab) -> None:
    levels: list[str] = []

    async def log(params: Any) -> None:
        levels.append(params.level)

    async def act(client: Client) -> None:
        await client.set_logging_level("emergency")
        await client.subscribe_resource("test://9")
        for process in lab.processes:
            process.kill()
            # The socket stays open, so that requests to this process wait for its next life.
            levels.clear()
            process.start()
            for _ in range(4):
                await client.call_tool("chatty", {})
            assert levels == ["emergency"] * 4
        assert (await client.call_tool("echo", {"x": 1})).structured_content["arguments"] == {"x": 1}

    with_client(lab, act, logging_callback=log)
