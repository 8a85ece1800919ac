"""The official client, in the modern revision, in front of servers that only know the handshake, over both old transports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    ResourceTemplateReference,
    Root,
    TextContent,
)

from access.types import PolicyMode, ServerPolicy, SideEffect, ToolRule, Trust
from gateway.peers import pool
from tests.integration.gateway.conftest import META, Stage
from tests.support.gateways import config_for, running_gateway, serving
from tests.support.old_servers import BIG, TOOLS, WATCHED, OldServer
from tests.support.processes import wait_until
from tests.support.raw_servers import RawServer

TRANSPORTS = pytest.mark.parametrize("old", ["streamable", "http-sse"], indirect=True)


@dataclass
class Old:
    """A server of its own for each test, with the name under which the gateway has it."""

    stage: Stage
    app: OldServer
    slug: str
    second: str  # the base URL of another gateway process


@pytest.fixture(scope="module")
def ports(
    build_stage: Any, urls: tuple[str, str], sdk_port: int
) -> Iterator[tuple[Stage, Callable[[OldServer], int], str]]:
    import contextlib

    make, world, upstream = build_stage()
    apps: list[OldServer] = []

    async def switch(scope: Any, receive: Any, send: Any) -> None:
        await (apps[-1] if apps else OldServer())(scope, receive, send)

    def install(app: OldServer) -> int:
        apps.append(app)
        return port

    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(switch))
        config = config_for(*urls, upstream.port, sdk_port, port)
        first = stack.enter_context(running_gateway(config, world.loader))
        second = stack.enter_context(running_gateway(config, world.loader))
        yield make(first), install, second


@pytest.fixture
def old(ports: tuple[Stage, Callable[[OldServer], int], str], request: pytest.FixtureRequest) -> Iterator[Old]:
    stage, install, second = ports
    app = OldServer()
    port = install(app)
    is_sse = getattr(request, "param", "streamable") == "http-sse"
    app.has_streamable = not is_sse
    slug = f"old-{uuid4().hex[:8]}"
    owner = next(entry for entry in stage.world.loader.tenants.values() if entry.slug == "initech")
    server = stage.world.server(
        slug,
        f"http://127.0.0.1:{port}/{'sse' if is_sse else 'mcp'}?for={slug}",
        owner,
        protocol="2024-11-05" if is_sse else "2025-11-25",
        transport="sse" if is_sse else "streamable-http",
    )
    rules = {name: ToolRule(name, Trust.LOW, SideEffect.READ) for name in TOOLS}
    policy = ServerPolicy(server.server_id, PolicyMode.ALLOW_LIST, Trust.LOW, rules)
    server = replace(server, policy=policy)
    stage.world.loader.servers[server.server_id] = server
    stage.servers[slug] = server
    stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: is_known(stage, stage.base, slug) and is_known(stage, second, slug), "the server's grant")
    app.received.clear()
    return Old(stage, app, slug, second)


def is_known(stage: Stage, base: str, slug: str) -> bool:
    headers = stage.modern("server/discover")
    content = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": META}})
    return httpx.post(f"{base}/mcp/{slug}", content=content, headers=headers, timeout=10).status_code == 200


@asynccontextmanager
async def client_of(old: Old, base: str = "", mode: str = "auto", **options: Any) -> Any:
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {old.stage.token}"}, timeout=10) as http:
        transport = streamable_http_client(f"{base or old.stage.base}/mcp/{old.slug}", http_client=http)
        async with Client(transport, mode=mode, **options) as client:
            yield client


def run(old: Old, act: Callable[[Client], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(15), client_of(old, **options) as client:
            return await act(client)

    return asyncio.run(main())


def post(
    old: Old, method: str, params: dict[str, Any], *, base: str = "", capabilities: Any = None, **meta: Any
) -> httpx.Response:
    """A modern request by hand."""
    meta = {**META, **meta}
    if capabilities is not None:
        meta["io.modelcontextprotocol/clientCapabilities"] = capabilities
    name = params.get("name") or params.get("uri")
    content = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}})
    return httpx.post(
        f"{base or old.stage.base}/mcp/{old.slug}",
        content=content,
        headers=old.stage.modern(method, name),
        timeout=10,
    )


def call(old: Old, tool: str, arguments: Any = None, **more: Any) -> httpx.Response:
    return post(old, "tools/call", {"name": tool, "arguments": arguments or {}, **more.pop("params", {})}, **more)


def said(result: Any) -> Any:
    return result.content[0].text


# What every client does


@TRANSPORTS
def test_the_server_describes_itself_as_a_modern_one_would(old: Old) -> None:
    async def act(client: Client) -> Any:
        return client.protocol_version, client.server_info, client.instructions, client.server_capabilities

    version, info, instructions, capabilities = run(old, act)
    assert version == "2026-07-28"
    assert (info.name, info.version, instructions) == ("old", "1", "Be kind.")
    assert capabilities.resources.subscribe is True
    result = post(old, "server/discover", {}).json()["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert (result["resultType"], result["ttlMs"], result["cacheScope"]) == ("complete", 0, "private")
    assert "tasks" not in result["capabilities"]
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"] == {"name": "old", "version": "1", "x-extra": True}


@TRANSPORTS
def test_everything_that_is_listed_read_and_completed_arrives(old: Old) -> None:
    async def act(client: Client) -> Any:
        tools, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            tools += [tool.name for tool in page.tools]
            cursor = page.next_cursor
            if not cursor:
                break
        resources = await client.list_resources()
        templates = await client.list_resource_templates()
        read = await client.read_resource(WATCHED)
        prompts = await client.list_prompts()
        prompt = await client.get_prompt("greet")
        ref = ResourceTemplateReference(type="ref/resource", uri="test://{id}")
        completion = await client.complete(ref, {"name": "id", "value": "a"})
        return (
            tools,
            resources.resources[0].uri,
            templates.resource_templates[0].uri_template,
            read.contents[0].text,
            prompts.prompts[0].name,
            prompt.messages[0].content.text,
            completion.completion.values,
        )

    assert run(old, act) == (TOOLS, WATCHED, "test://{id}", "seen", "greet", "hello", ["a!"])


@TRANSPORTS
def test_unknown_members_and_large_numbers_survive(old: Old) -> None:
    listed = post(old, "tools/list", {}).json()["result"]
    assert listed["tools"][0]["x-unknown"] == [1, None]
    assert listed["tools"][0]["inputSchema"]["$defs"] == {"x": {}}
    result = call(old, "number", {"n": BIG}).json()["result"]
    assert result["structuredContent"] == {"given": BIG, "own": BIG}
    assert result["resultType"] == "complete"


@TRANSPORTS
def test_a_resource_that_is_not_there_is_an_invalid_parameter(old: Old) -> None:
    response = post(old, "resources/read", {"uri": "test://nothing"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["data"]) == (-32602, {"uri": "test://nothing"})


@TRANSPORTS
def test_an_unknown_method_of_the_server_is_not_found(old: Old) -> None:
    del OldServer.on_prompts_list
    try:
        response = post(old, "prompts/list", {})
    finally:
        OldServer.on_prompts_list = ON_PROMPTS_LIST  # type: ignore[method-assign]
    assert (response.status_code, response.json()["error"]["code"]) == (404, -32601)


ON_PROMPTS_LIST = OldServer.on_prompts_list


@TRANSPORTS
def test_progress_arrives_under_the_clients_own_token(old: Old) -> None:
    seen: list[float] = []

    async def act(client: Client) -> Any:
        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        return await client.call_tool("slow", {"steps": 3}, progress_callback=note)

    assert said(run(old, act)) == "done"
    assert seen == [1, 2, 3]
    stream = call(old, "slow", {"steps": 1}, progressToken="mine").text
    assert '"progressToken":"mine"' in stream
    assert "progress" not in call(old, "slow", {"steps": 1}).text


@TRANSPORTS
def test_log_messages_come_from_the_level_that_was_asked_for(old: Old) -> None:
    stream = call(old, "log", {}, **{"io.modelcontextprotocol/logLevel": "warning"}).text
    assert "at warning" in stream
    assert "at error" in stream
    assert "at info" not in stream
    assert '"text":"warning"' in stream  # the session's level
    assert "notifications/message" not in call(old, "log").text


@TRANSPORTS
def test_a_client_that_leaves_cancels_at_the_server(old: Old) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{old.stage.base}/mcp/{old.slug}",
            content=json.dumps(
                {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "tools/call",
                    "params": {"name": "hang", "arguments": {}, "_meta": META},
                }
            ),
            headers=old.stage.modern("tools/call", "hang"),
            timeout=0.5,
        )
    wait_until(lambda: "notifications/cancelled" in old.app.methods(), "the cancellation")
    asked = next(message for _, message in old.app.received if message["method"] == "tools/call")
    cancelled = next(message for _, message in old.app.received if message["method"] == "notifications/cancelled")
    assert cancelled["params"]["requestId"] == asked["id"]


# Sessions


@TRANSPORTS
def test_calls_of_one_key_share_a_session_and_carry_nothing_of_the_caller(old: Old) -> None:
    for number in range(3):
        assert call(old, "echo", {"n": number}).status_code == 200
    sessions = {session for session, message in old.app.received if message.get("method") == "tools/call"}
    assert len(sessions) == 1
    assert old.app.methods().count("initialize") <= 1
    for headers in old.app.headers:
        assert "authorization" not in headers
        assert "mcp-method" not in headers


def test_a_session_that_the_server_lost_is_replaced_and_the_call_sent_once_more(old: Old) -> None:
    assert call(old, "echo", {"n": 1}).status_code == 200
    old.app.lose_sessions()
    old.app.received.clear()
    response = call(old, "echo", {"n": 2})
    assert json.loads(response.json()["result"]["content"][0]["text"]) == {"n": 2}
    assert old.app.methods() == ["initialize", "notifications/initialized", "tools/call"]
    assert old.stage.row(response)["attempts"] == 2


@pytest.mark.parametrize("capabilities", [{}, {"sampling": {}}])
def test_a_stream_that_the_server_drops_is_taken_up_where_it_ended(old: Old, capabilities: Any) -> None:
    assert "after all" in call(old, "drop", capabilities=capabilities).text
    assert old.app.methods().count("tools/call") == 1


@TRANSPORTS
def test_a_session_that_nobody_uses_is_given_back(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(old, "echo").status_code == 200
    used = {session for session, message in old.app.received if message.get("method") == "tools/call"}
    monkeypatch.setattr(pool, "IDLE_S", 0.1)
    wait_until(lambda: used <= set(old.app.ended), "the end of the session")


def test_calls_that_may_be_asked_something_have_sessions_of_their_own(old: Old) -> None:
    first, second = first_round(old), first_round(old)
    sessions = [session for session, message in old.app.received if message.get("method") == "tools/call"]
    assert len(set(sessions)) == 2
    for result in (second, first):
        assert "me" in call(old, "ask", {"a": 1}, capabilities=ELICITING, params=answers_to(result)).text
    # Both are free again, and serve the next.
    first_round(old)
    assert old.app.methods().count("initialize") <= 3


def test_another_key_gets_another_session(old: Old) -> None:
    token, key = old.stage.world.key(old.stage.acme)
    old.stage.world.grant(old.stage.acme, old.stage.servers[old.slug], key)
    other = replace(old.stage, token=token)
    assert call(old, "echo").status_code == 200
    wait_until(lambda: call(replace(old, stage=other), "echo").status_code == 200, "the other key")
    sessions = {session for session, message in old.app.received if message.get("method") == "tools/call"}
    assert len(sessions) == 2


def test_a_server_that_the_catalog_took_for_a_modern_one_is_called_by_handshake(old: Old) -> None:
    server = old.stage.servers[old.slug]
    # Another address, of which nothing has been learnt.
    changed = {"protocol": "2026-07-28", "url": server.url + "&changed"}
    old.stage.world.change_server(server.server_id, **changed)
    wait_until(lambda: call(old, "echo").status_code == 200 and "initialize" in old.app.methods(), "the new address")
    assert old.app.methods().count("tools/call") >= 1


def test_a_server_whose_era_nobody_knows_is_asked_before_it_is_called(old: Old) -> None:
    server = old.stage.servers[old.slug]
    old.stage.world.change_server(server.server_id, protocol="", url=server.url + "&unknown")
    wait_until(lambda: call(old, "echo").status_code == 200 and "initialize" in old.app.methods(), "the new address")


def test_an_old_transport_at_an_address_that_was_taken_for_the_newer_one_is_found(old: Old) -> None:
    old.app.has_streamable = False
    server = old.stage.servers[old.slug]
    old.stage.world.change_server(server.server_id, url=server.url.replace("/mcp?", "/sse?"))
    wait_until(lambda: call(old, "echo").status_code == 200, "the new address")
    assert "initialize" in old.app.methods()


def test_a_modern_server_that_is_away_for_a_moment_is_not_taken_for_an_old_one(ports: Any, old: Old) -> None:
    stage, install, _ = ports
    modern = RawServer(results={"tools/call": b'{"resultType":"complete","content":[]}'}, error_status=404)
    install(modern)
    server = stage.servers[old.slug]
    stage.world.change_server(server.server_id, protocol="2026-07-28", url=server.url + "&away")
    wait_until(lambda: call(old, "echo").status_code == 404, "the new address")
    modern.error_status = 0
    response = call(old, "echo")
    assert (response.status_code, response.json()["result"]["resultType"]) == (200, "complete")


def test_an_old_server_that_was_upgraded_is_spoken_to_anew(ports: Any, old: Old) -> None:
    _, install, _ = ports
    assert call(old, "echo").status_code == 200
    modern = RawServer(
        results={
            "tools/call": b'{"resultType":"complete","content":[],"from":"the upgrade"}',
            "server/discover": b'{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}}',
        }
    )
    install(modern)
    # These capabilities need another session, which the server does not open any more.
    assert "the upgrade" in call(old, "echo", capabilities={"roots": {}}).text
    assert modern.count("tools/call") == 1


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/messages", "https://example.com/m", "//example.com/m", "ftp:x"]
)
@pytest.mark.parametrize("old", ["http-sse"], indirect=True)
def test_messages_go_to_no_other_origin(old: Old, address: str) -> None:
    old.app.endpoint = address
    server = old.stage.servers[old.slug]
    old.stage.world.change_server(server.server_id, url=server.url + "&moved")
    wait_until(lambda: call(old, "echo").status_code == 502, "the new address")
    old.app.received.clear()
    assert call(old, "echo").status_code == 502
    assert old.app.methods() == []


# What the server asks the client


async def on_elicit(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "octocat"})


async def on_sample(context: Any, params: Any) -> CreateMessageResult:
    return CreateMessageResult(role="assistant", content=TextContent(type="text", text="hi"), model="m")


async def on_roots(context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///home")])


@TRANSPORTS
@pytest.mark.parametrize("tool", ["ask", "ask_aside"])
def test_a_question_of_the_server_reaches_the_client_and_its_answer_the_server(old: Old, tool: str) -> None:
    answer = run(old, lambda client: client.call_tool(tool, {}), elicitation_callback=on_elicit)
    assert json.loads(said(answer)) == {"action": "accept", "content": {"name": "octocat"}}
    rows = [row for row in old.stage.rows() if row["server_name"] == old.slug and row["tool"] == tool]
    assert [row["billable"] for row in rows] == [False, True]
    assert old.app.methods().count("tools/call") == 1


@TRANSPORTS
def test_two_questions_at_once_are_asked_in_one_round(old: Old) -> None:
    options = {"sampling_callback": on_sample, "list_roots_callback": on_roots}
    answer = json.loads(said(run(old, lambda client: client.call_tool("ask_both", {}), **options)))
    assert answer[0]["content"] == {"type": "text", "text": "hi"}
    assert answer[1]["roots"] == [{"uri": "file:///home"}]


@TRANSPORTS
def test_a_client_that_cannot_be_asked_is_not_asked(old: Old) -> None:
    result = call(old, "ask", capabilities={"sampling": {}}).json()["result"]
    assert result["resultType"] == "complete"
    assert json.loads(result["content"][0]["text"])["code"] == -32601


ELICITING = {"elicitation": {"form": {}}}


def first_round(old: Old, **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = call(old, "ask", {"a": 1}, capabilities=ELICITING, **more).json()["result"]
    assert result["resultType"] == "input_required"
    return result


def answers_to(result: dict[str, Any]) -> dict[str, Any]:
    given = {key: {"action": "accept", "content": {"name": "me"}} for key in result["inputRequests"]}
    return {"inputResponses": given, "requestState": result["requestState"]}


def is_refused(response: httpx.Response) -> bool:
    if response.status_code != 400:
        return False
    error = response.json()["error"]
    return error["code"] == -32602 and error["data"]["reason"] == "invalid_request_state"


def test_a_round_goes_on_once_only(old: Old) -> None:
    answers = answers_to(first_round(old))
    assert "me" in call(old, "ask", {"a": 1}, capabilities=ELICITING, params=answers).text
    assert is_refused(call(old, "ask", {"a": 1}, capabilities=ELICITING, params=answers))


def test_a_round_is_bound_to_the_request_that_began_it(old: Old) -> None:
    answers = answers_to(first_round(old))
    assert is_refused(call(old, "ask", {"a": 2}, capabilities=ELICITING, params=answers))
    assert is_refused(call(old, "echo", {"a": 1}, capabilities=ELICITING, params=answers))
    forged = {**answers, "requestState": answers["requestState"][:-4] + "AAAA"}
    assert is_refused(call(old, "ask", {"a": 1}, capabilities=ELICITING, params=forged))
    assert is_refused(call(old, "ask", {"a": 1}, capabilities=ELICITING, params={"requestState": "somebody's"}))
    # None of it used the round up.
    assert "me" in call(old, "ask", {"a": 1}, capabilities=ELICITING, params=answers).text


def test_a_round_belongs_to_the_key_that_began_it(old: Old) -> None:
    token, key = old.stage.world.key(old.stage.acme)
    old.stage.world.grant(old.stage.acme, old.stage.servers[old.slug], key)
    other = replace(old, stage=replace(old.stage, token=token))
    wait_until(lambda: call(other, "echo").status_code == 200, "the other key")
    assert is_refused(call(other, "ask", {"a": 1}, capabilities=ELICITING, params=answers_to(first_round(old))))


def test_an_answer_that_is_missing_is_asked_for_again(old: Old) -> None:
    result = first_round(old)
    params = {"requestState": result["requestState"], "inputResponses": {"other": {}}}
    again = call(old, "ask", {"a": 1}, capabilities=ELICITING, params=params).json()["result"]
    assert again["resultType"] == "input_required"
    assert again["inputRequests"] == result["inputRequests"]
    assert "me" in call(old, "ask", {"a": 1}, capabilities=ELICITING, params=answers_to(again)).text


def test_a_round_goes_on_through_another_gateway(old: Old) -> None:
    answers = answers_to(first_round(old))
    response = call(old, "ask", {"a": 1}, capabilities=ELICITING, params=answers, base=old.second)
    assert "me" in response.text
    assert old.stage.row(response)["billable"] is True
    assert old.app.methods().count("tools/call") == 1
    assert is_refused(call(old, "ask", {"a": 1}, capabilities=ELICITING, params=answers, base=old.second))


def test_a_page_that_the_user_must_open_first_is_a_round_too(old: Old) -> None:
    urls = {"elicitation": {"url": {}}}
    result = call(old, "visit", capabilities=urls).json()["result"]
    ((key, question),) = result["inputRequests"].items()
    assert (question["method"], question["params"]["url"]) == ("elicitation/create", "https://example.com/")
    params = {"requestState": result["requestState"], "inputResponses": {key: {"action": "accept"}}}
    assert "welcome back" in call(old, "visit", capabilities=urls, params=params, base=old.second).text


def test_a_client_that_cannot_be_sent_to_a_page_is_told_what_it_lacks(old: Old) -> None:
    response = call(old, "visit", capabilities=ELICITING)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, -32021)
    assert error["data"]["requiredCapabilities"] == {"elicitation": {"url": {}}}


# Subscriptions


@TRANSPORTS
def test_a_subscription_hears_what_it_asked_for_and_nothing_else(old: Old) -> None:
    async def act(client: Client) -> list[str]:
        async with client.listen(tools_list_changed=True, resource_subscriptions=[WATCHED]) as subscription:
            await client.call_tool("change", {})
            events = []
            async for event in subscription:
                events.append(type(event).__name__)
                if len(events) == 2:
                    return events
        return events

    assert run(old, act) == ["ToolsListChanged", "ResourceUpdated"]
    assert "resources/subscribe" in old.app.methods()


@TRANSPORTS
@pytest.mark.parametrize("options", [{}, {"elicitation_callback": on_elicit}])
def test_a_client_hears_what_its_own_call_changed(old: Old, options: Any) -> None:
    async def act(client: Client) -> Any:
        async with client.listen(tools_list_changed=True) as subscription:
            await client.call_tool("change_mine", {})
            event = await anext(subscription)
        return type(event).__name__, said(await client.call_tool("echo", {}))

    assert run(old, act, **options) == ("ToolsListChanged", "{}")


def test_a_server_without_a_stream_of_its_own_ends_a_subscription_at_once(old: Old) -> None:
    old.app.has_get = False
    response = post(old, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert '"notifications":{}' in response.text
    assert '"resultType":"complete"' in response.text


@TRANSPORTS
def test_a_refusal_by_the_policy_reaches_no_session(old: Old) -> None:
    async def act(client: Client) -> Any:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("nothing", {})
        return caught.value.error.code

    assert run(old, act) == 40300
    assert "tools/call" not in old.app.methods()


# Clients of the handshake revisions


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@TRANSPORTS
def test_a_client_of_the_handshake_uses_an_old_server_over_either_transport(old: Old) -> None:
    heard, logged, steps = [], [], []

    async def note(message: Any) -> None:
        heard.append(type(message).__name__)

    async def log(params: Any) -> None:
        logged.append(params.level)

    async def progress(step: float, total: float | None, message: str | None) -> None:
        steps.append(step)

    async def act(client: Client) -> None:
        assert (await client.call_tool("slow", {"steps": 2}, progress_callback=progress)).is_error is False
        assert steps == [1, 2]
        assert "octocat" in said(await client.call_tool("ask", {}))
        await client.set_logging_level("warning")
        await client.call_tool("log", {})
        assert logged[-2:] == ["warning", "error"]
        await client.subscribe_resource(WATCHED)
        while "ResourceUpdatedNotification" not in heard:
            await client.call_tool("change", {})
            await asyncio.sleep(0.1)
        with pytest.raises(MCPError):
            await client.read_resource("test://nothing")

    async def main() -> None:
        options = {"logging_callback": log, "message_handler": note, "elicitation_callback": on_elicit}
        async with asyncio.timeout(20), client_of(old, mode="legacy", **options) as client:
            await act(client)

    asyncio.run(main())
    assert {"initialize", "resources/subscribe"} <= set(old.app.methods())


def test_a_session_that_the_server_lost_is_unknown_to_its_client_too(old: Old) -> None:
    url, headers = f"{old.stage.base}/mcp/{old.slug}", old.stage.headers()
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    headers["mcp-session-id"] = httpx.post(url, json=opening, headers=headers, timeout=10).headers["mcp-session-id"]
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert httpx.post(url, json=ping, headers=headers, timeout=10).status_code == 200
    old.app.lose_sessions()
    assert httpx.post(url, json=ping, headers=headers, timeout=10).status_code == 404


# Servers that somebody else wrote


def only_old(app: Any) -> Any:
    """The official SDK's server as it was before it knew the modern revision (the answer is that of `mcp` 1.30.0)."""

    async def run(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if headers.get(b"mcp-protocol-version", b"") < b"2026":
            await app(scope, receive, send)
            return
        error = {"code": -32600, "message": "Bad Request: Missing session ID"}
        body = json.dumps({"jsonrpc": "2.0", "id": "server-error", "error": error}).encode()
        types = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 400, "headers": types})
        await send({"type": "http.response.body", "body": body})

    return run


@pytest.mark.parametrize("transport", ["streamable-http", "sse"])
def test_a_server_of_the_official_sdk_is_reached_by_handshake(
    build_stage: Any, urls: tuple[str, str], transport: str
) -> None:
    from tests.support.sdk_servers import build

    make, world, _ = build_stage()
    is_sse = transport == "sse"
    app = build().sse_app() if is_sse else only_old(build().streamable_http_app())
    with serving(app) as port, running_gateway(config_for(*urls, port), world.loader) as base:
        stage = make(base)
        owner = next(entry for entry in world.loader.tenants.values() if entry.slug == "initech")
        slug = f"sdk-{transport}"
        url = f"http://127.0.0.1:{port}/{'sse' if is_sse else 'mcp'}"
        server = world.server(slug, url, owner, protocol="2025-11-25", transport=transport)
        world.grant(stage.acme, server, stage.key)
        old = Old(stage, OldServer(), slug, base)
        wait_until(lambda: is_known(stage, base, slug), "the server's grant")
        seen: list[float] = []

        async def act(client: Client) -> Any:
            async def note(progress: float, total: float | None, message: str | None) -> None:
                seen.append(progress)

            tools = [tool.name for tool in (await client.list_tools()).tools]
            added = await client.call_tool("add", {"a": 1, "b": 2})
            await client.call_tool("slow", {"steps": 2}, progress_callback=note)
            failed = await client.call_tool("fail", {})
            return tools, added.structured_content, failed.is_error

        assert run(old, act) == (["echo", "add", "fail", "slow"], {"result": 3}, True)
        assert seen == [1, 2]


def test_a_server_is_told_a_log_level_only_when_the_client_set_one(old: Old) -> None:
    """A session that has a level serves one request at a time; all others share one."""
    token, key = old.stage.world.key(old.stage.acme)
    old.stage.world.grant(old.stage.acme, old.stage.servers[old.slug], key)
    headers = old.stage.headers(token, mcp_protocol_version="2025-11-25")

    def ask(method: str, **params: Any) -> httpx.Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(f"{old.stage.base}/mcp", content=json.dumps(message), headers=headers, timeout=10)

    def call_echo() -> str:
        """The session at the server that the call went through."""
        assert "result" in ask("tools/call", name=f"{old.slug}__echo", arguments={}).json()
        return next(session for session, message in reversed(old.app.received) if message["method"] == "tools/call")

    client = {"name": "older", "version": "1"}
    hello = ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
    headers["mcp-session-id"] = hello.headers["mcp-session-id"]
    shared = call_echo()
    assert "logging/setLevel" not in old.app.methods()
    ask("logging/setLevel", level="debug")
    assert call_echo() != shared
    assert "logging/setLevel" in old.app.methods()


def test_what_only_reads_is_asked_again_of_a_server_that_is_unwell_for_a_moment(old: Old) -> None:
    assert post(old, "resources/read", {"uri": WATCHED}).status_code == 200
    old.app.unwell = 1
    response = post(old, "resources/read", {"uri": WATCHED})
    assert (response.status_code, old.stage.row(response)["attempts"]) == (200, 2)
    assert old.app.methods().count("resources/read") == 3


def test_a_tool_that_says_nothing_of_repeating_is_not(old: Old) -> None:
    assert call(old, "echo", {"a": 1}).status_code == 200
    old.app.unwell = 1
    response = call(old, "echo", {"a": 1})
    assert (response.status_code, old.stage.row(response)["attempts"]) == (502, 1)
    assert old.app.methods().count("tools/call") == 2
