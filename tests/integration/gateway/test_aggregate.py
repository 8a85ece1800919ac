"""`POST /mcp`: all servers of a key as one, each call decided and recorded as a call of the server that it names."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from access.types import PolicyMode, ServerPolicy, SideEffect, ToolRule, Trust
from catalog import names
from gateway.aggregate.peer import META_AWAY, META_CONTEXT
from gateway.entries import ServerEntry
from tests.integration.gateway.conftest import Stage, body_of
from tests.integration.gateway.test_lists import DEFINITIONS
from tests.support.gateways import config_for, running_gateway, serving
from tests.support.raw_servers import RawServer

SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "x-mcp-header": "Text"}}}
META_TOOLS = ["marketplace_search_tools", "marketplace_describe_tool", "marketplace_call_tool"]


def done(message: dict[str, Any]) -> bytes:
    content = [
        {"type": "text", "text": message["params"]["name"]},
        {"type": "resource_link", "uri": "test://one", "name": "one"},
    ]
    return json.dumps({"resultType": "complete", "content": content, "isError": False}).encode()


def read(message: dict[str, Any]) -> bytes:
    uri = message["params"]["uri"]
    return json.dumps({"resultType": "complete", "contents": [{"uri": uri, "text": "x"}], "ttlMs": 0}).encode()


def listing(member: str, *items: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"resultType": "complete", member: items, "ttlMs": 0, "cacheScope": "private", **more}).encode()


def server_with(*tools: dict[str, Any]) -> RawServer:
    return RawServer(
        {
            "server/discover": json.dumps(
                {
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {}, "resources": {"subscribe": True}, "prompts": {}},
                }
            ).encode(),
            "tools/list": listing("tools", *tools),
            "resources/list": listing("resources", {"uri": "test://one", "name": "one"}),
            "resources/templates/list": listing("resourceTemplates", {"uriTemplate": "test://{id}/x", "name": "t"}),
            "prompts/list": listing("prompts", {"name": "greet"}),
            "prompts/get": b'{"resultType":"complete","messages":[]}',
            "completion/complete": b'{"resultType":"complete","completion":{"values":["v"]}}',
            "tools/call": done,
            "resources/read": read,
        }
    )


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"The tool {name}", "inputSchema": SCHEMA, **more}


@dataclass
class All:
    """Two servers, and a key that may use them."""

    stage: Stage
    alpha: RawServer
    beta: RawServer
    servers: dict[str, ServerEntry]

    def key(self, *servers: str, **changes: Any) -> str:
        token, key = self.stage.world.key(self.stage.acme, **changes)
        for name in servers:
            self.stage.world.grant(self.stage.acme, self.servers[name], key)
        return token

    def ask(self, token: str, method: str, name: str | None = None, /, **params: Any) -> httpx.Response:
        headers = self.stage.modern(method, name) | {"authorization": f"Bearer {token}"}
        return httpx.post(f"{self.stage.base}/mcp", content=body_of(method, params), headers=headers, timeout=15)

    def call(self, token: str, name: str, /, **arguments: Any) -> httpx.Response:
        return self.ask(token, "tools/call", name, name=name, arguments=arguments)

    def listed(self, token: str) -> list[str]:
        return [each["name"] for each in self.ask(token, "tools/list").json()["result"]["tools"]]


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, tuple[RawServer, int]]]:
    alpha = server_with(tool("echo", title="Echo", icons=[{"src": "https://x"}]), tool("erase"), tool("odd name ä"))
    beta = server_with(tool("add"), tool("echo"), tool("unapproved"))
    with serving(alpha) as one, serving(beta) as two:
        yield {"alpha": (alpha, one), "beta": (beta, two)}


@pytest.fixture(scope="module")
def all_servers(build_stage: Any, urls: tuple[str, str], sdk_port: int, ports: Any) -> Iterator[All]:
    make, world, upstream = build_stage()
    config = config_for(*urls, upstream.port, sdk_port, *(port for _, port in ports.values()))
    with running_gateway(config, world.loader) as base:
        stage = make(base)
        owner = next(entry for entry in world.loader.tenants.values() if entry.slug == "initech")
        servers = dict(stage.servers)
        for name, (_, port) in ports.items():
            servers[name] = server = world.server(name, f"http://127.0.0.1:{port}/mcp", owner)
            rules = dict(server.policy.tools) | {"odd name ä": ToolRule("odd name ä", Trust.LOW, SideEffect.READ)}
            world.change_server(server.server_id, policy=replace(server.policy, tools=rules))
        yield All(stage, ports["alpha"][0], ports["beta"][0], servers)


def test_tools_of_all_servers_are_listed_in_order_under_the_names_of_their_servers(all_servers: All) -> None:
    token = all_servers.key("beta", "alpha")
    result = all_servers.ask(token, "tools/list").json()["result"]
    odd = names.expose("alpha", "odd name ä")
    assert [each["name"] for each in result["tools"]] == [*META_TOOLS, "alpha__echo", odd, "beta__add", "beta__echo"]
    assert result["tools"][3] == {**tool("echo", title="Echo", icons=[{"src": "https://x"}]), "name": "alpha__echo"}
    assert (result["cacheScope"], result["resultType"]) == ("private", "complete")
    assert result["ttlMs"] > 0
    assert META_AWAY not in result["_meta"]


def test_a_list_is_one_row_and_is_not_billed(all_servers: All) -> None:
    response = all_servers.ask(all_servers.key("alpha"), "tools/list")
    row = all_servers.stage.row(response)
    assert (row["method"], row["server_id"], row["outcome"], row["allowed"], row["billable"]) == (
        "tools/list", None, "ok", True, False,
    )  # fmt: skip


def test_each_key_sees_its_own_servers_and_a_key_without_any_sees_our_tools_alone(all_servers: All) -> None:
    assert all_servers.listed(all_servers.key("beta")) == [*META_TOOLS, "beta__add", "beta__echo"]
    assert all_servers.listed(all_servers.key()) == META_TOOLS


def test_a_key_that_is_limited_to_a_server_sees_that_one(all_servers: All) -> None:
    limited = frozenset({all_servers.servers["beta"].server_id})
    token = all_servers.key("alpha", "beta", server_ids=limited)
    assert all_servers.listed(token) == [*META_TOOLS, "beta__add", "beta__echo"]
    assert all_servers.call(token, "alpha__echo").status_code == 403


def test_a_call_is_a_call_of_the_server_it_names(all_servers: All) -> None:
    token = all_servers.key("alpha", "beta")
    response = all_servers.call(token, "beta__echo", text="hi")
    assert response.json()["result"]["content"] == [
        {"type": "text", "text": "echo"},
        {"type": "resource_link", "uri": "mcp://beta/test://one", "name": "one"},
    ]
    row = all_servers.stage.row(response)
    assert (row["server_id"], row["tool"], row["outcome"], row["billable"]) == (
        all_servers.servers["beta"].server_id, "echo", "ok", True,
    )  # fmt: skip
    headers = all_servers.beta.headers[-1]
    assert (headers["mcp-name"], headers["mcp-method"]) == ("echo", "tools/call")
    assert "authorization" not in headers


def test_a_call_that_policy_denies_is_recorded_and_never_reaches_the_server(all_servers: All) -> None:
    token = all_servers.key("alpha")
    before = len(all_servers.alpha.asked)
    response = all_servers.call(token, "alpha__erase")
    assert response.status_code == 403
    assert response.json()["error"]["data"]["reason"] == "side_effect_not_allowed"
    row = all_servers.stage.row(response)
    assert (row["tool"], row["allowed"], row["server_name"]) == ("erase", False, "alpha")
    assert len(all_servers.alpha.asked) == before


def test_a_server_without_a_grant_and_a_server_that_does_not_exist_are_refused(all_servers: All) -> None:
    token = all_servers.key("alpha")
    assert all_servers.call(token, "beta__echo").json()["error"]["data"]["reason"] == "no_matching_grant"
    assert all_servers.call(token, "nobody__echo").json()["error"]["data"]["reason"] == "server_unknown"


@pytest.mark.parametrize("name", ["echo", "alpha__", "__echo", "alpha__echo__xaaaaaaaaaaaaaaaa"])
def test_a_name_of_nobody_is_refused_with_the_next_step(all_servers: All, name: str) -> None:
    response = all_servers.call(all_servers.key("alpha"), name)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32602
    assert "marketplace_search_tools" in response.json()["error"]["data"]["next_step"]


def test_a_shortened_name_leads_back_to_the_tool(all_servers: All) -> None:
    response = all_servers.call(all_servers.key("alpha"), names.expose("alpha", "odd name ä"))
    assert response.json()["result"]["content"][0]["text"] == "odd name ä"
    assert all_servers.stage.row(response)["tool"] == "odd name ä"


def test_header_and_body_must_agree_here_too(all_servers: All) -> None:
    token = all_servers.key("alpha", "beta")
    response = all_servers.ask(token, "tools/call", "alpha__echo", name="beta__echo", arguments={})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32020


def test_resources_and_prompts_of_all_servers_are_listed_and_read(all_servers: All) -> None:
    token = all_servers.key("alpha", "beta")
    listed = {
        method: all_servers.ask(token, method).json()["result"][member]
        for method, member in (
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
            ("prompts/list", "prompts"),
        )
    }
    assert [each["uri"] for each in listed["resources/list"]] == ["mcp://alpha/test://one", "mcp://beta/test://one"]
    assert listed["resources/templates/list"][0]["uriTemplate"] == "mcp://alpha/test://{id}/x"
    assert [each["name"] for each in listed["prompts/list"]] == ["alpha__greet", "beta__greet"]
    uri = "mcp://beta/test://one"
    response = all_servers.ask(token, "resources/read", uri, uri=uri)
    assert response.json()["result"]["contents"] == [{"uri": uri, "text": "x"}]
    assert all_servers.beta.asked[-1]["params"]["uri"] == "test://one"
    assert all_servers.ask(token, "prompts/get", "beta__greet", name="beta__greet").status_code == 200
    assert all_servers.beta.asked[-1]["params"]["name"] == "greet"
    ref = {"type": "ref/prompt", "name": "beta__greet"}
    completion = all_servers.ask(token, "completion/complete", ref=ref, argument={"name": "a", "value": ""})
    assert completion.json()["result"]["completion"]["values"] == ["v"]
    assert all_servers.beta.asked[-1]["params"]["ref"]["name"] == "greet"


def test_a_uri_without_a_server_is_read_where_it_is_listed_alone(all_servers: All) -> None:
    only = all_servers.key("alpha")
    assert all_servers.ask(only, "resources/read", "test://one", uri="test://one").status_code == 200
    both = all_servers.key("alpha", "beta")
    assert all_servers.ask(both, "resources/read", "test://one", uri="test://one").status_code == 400


def test_a_server_that_is_away_costs_its_own_part_and_is_named(all_servers: All) -> None:
    token = all_servers.key("alpha", "reset")
    result = all_servers.ask(token, "tools/list").json()["result"]
    assert "alpha__echo" in [each["name"] for each in result["tools"]]
    assert [each["server"] for each in result["_meta"][META_AWAY]] == ["reset"]


def test_servers_are_not_asked_again_for_every_list(all_servers: All) -> None:
    token = all_servers.key("alpha")
    all_servers.listed(token)
    asked = all_servers.alpha.count("tools/list")
    all_servers.listed(token)
    assert all_servers.alpha.count("tools/list") == asked
    # Private lists are the key's own.
    all_servers.listed(all_servers.key("alpha"))
    assert all_servers.alpha.count("tools/list") == asked + 1


def test_what_the_endpoint_can_do_is_what_its_servers_can(all_servers: All) -> None:
    result = all_servers.ask(all_servers.key("alpha"), "server/discover").json()["result"]
    assert result["capabilities"] == {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "prompts": {}}
    assert result["supportedVersions"] == ["2026-07-28"]


def test_the_search_form_lists_our_tools_alone_and_says_what_it_saved(all_servers: All) -> None:
    token = all_servers.key("alpha", "beta", form="search")
    result = all_servers.ask(token, "tools/list").json()["result"]
    assert [each["name"] for each in result["tools"]] == META_TOOLS
    context = result["_meta"][META_CONTEXT]
    assert (context["form"], context["toolsAvailable"], context["toolsListed"]) == ("search", 4, 3)
    assert context["bytesAvailable"] > 0


def test_the_chosen_form_lists_the_chosen_tools(all_servers: All) -> None:
    token = all_servers.key("alpha", "beta", form="chosen", chosen_tools=frozenset({"beta__add", "alpha__erase"}))
    assert all_servers.listed(token) == [*META_TOOLS, "beta__add"]


def test_a_tool_is_found_described_and_called_through_our_tools(all_servers: All) -> None:
    token = all_servers.key("alpha", "beta", form="search")
    found = all_servers.call(token, "marketplace_search_tools", query="adding numbers", limit=5)
    lines = found.json()["result"]["structuredContent"]["tools"]
    assert lines[0]["name"] == "beta__add"
    assert (lines[0]["side_effect"], lines[0]["price"]) == ("read", "0.02 USD")
    assert all_servers.stage.row(found)["billable"] is False
    described = all_servers.call(token, "marketplace_describe_tool", name="beta__add").json()["result"]
    assert described["structuredContent"]["definition"]["inputSchema"] == SCHEMA
    response = all_servers.call(token, "marketplace_call_tool", name="beta__add", arguments={"text": "a"})
    assert response.json()["result"]["content"][0]["text"] == "add"
    row = all_servers.stage.row(response)
    assert (row["tool"], row["server_name"], row["billable"]) == ("add", "beta", True)
    assert all_servers.beta.asked[-1]["params"]["arguments"] == {"text": "a"}
    # The client could not know that the server wants this argument in a header.
    assert all_servers.beta.headers[-1]["mcp-param-text"] == "a"


def test_a_header_that_mirrors_an_argument_agrees_with_it_here_too(all_servers: All) -> None:
    server = all_servers.servers["beta"]
    all_servers.stage.world.change_server(server.server_id, param_headers={"add": {"/text": "Text"}})
    token, stage = all_servers.key("beta"), all_servers.stage

    def call(tool: str, arguments: dict[str, Any], **more: str) -> httpx.Response:
        headers = stage.modern("tools/call", tool, **more) | {"authorization": f"Bearer {token}"}
        content = body_of("tools/call", {"name": tool, "arguments": arguments})
        return httpx.post(f"{stage.base}/mcp", content=content, headers=headers, timeout=15)

    while "result" in (refused := call("beta__add", {"text": "a"}, mcp_param_text="b").json()):
        pass  # until the gateway has the entry
    assert refused["error"]["code"] == -32020
    assert "result" in call("beta__add", {"text": "a"}, mcp_param_text="a").json()
    # Of our own tool such a header says nothing, and none of it reaches the server.
    inner = {"name": "beta__add", "arguments": {"text": "a"}}
    assert "result" in call("marketplace_call_tool", inner, mcp_param_text="b", mcp_param_other="c").json()
    sent = {name: value for name, value in all_servers.beta.headers[-1].items() if name.startswith("mcp-param")}
    assert sent == {"mcp-param-text": "a"}


def test_a_search_is_narrowed_by_server_and_side_effect_and_shows_no_other_tool(all_servers: All) -> None:
    token = all_servers.key("alpha", "beta")

    def search(**arguments: Any) -> list[str]:
        result = all_servers.call(token, "marketplace_search_tools", **arguments).json()["result"]
        return [line["name"] for line in result["structuredContent"]["tools"]]

    assert search(query="echo") == ["alpha__echo", "beta__echo"]
    assert search(query="echo", server="beta") == ["beta__echo"]
    assert search(query="erase") == search(query="echo", side_effect="write") == []
    assert len(search()) == 4


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"limit": True}, {"query": 1}, {"nope": 1}, {"side_effect": "x"}])
def test_a_search_that_is_wrong_tells_the_model_what(all_servers: All, arguments: dict[str, Any]) -> None:
    result = all_servers.call(all_servers.key("alpha"), "marketplace_search_tools", **arguments).json()["result"]
    assert result["isError"] is True


def test_our_tool_that_calls_is_decided_like_the_call_itself(all_servers: All) -> None:
    token = all_servers.key("alpha")
    response = all_servers.call(token, "marketplace_call_tool", name="alpha__erase")
    assert response.json()["error"]["data"]["reason"] == "side_effect_not_allowed"
    for arguments in ({}, {"name": 7}, {"name": "alpha__echo", "arguments": []}, {"name": "marketplace_call_tool"}):
        assert all_servers.call(token, "marketplace_call_tool", **arguments).status_code == 400


def test_a_round_for_more_input_comes_back_to_the_same_tool(all_servers: All) -> None:
    def rounds(message: dict[str, Any]) -> bytes:
        if "inputResponses" in message["params"]:
            return json.dumps(
                {"resultType": "complete", "content": [], "echo": message["params"]["requestState"]}
            ).encode()
        return b'{"resultType":"input_required","requestState":"s-1","inputRequests":{}}'

    token = all_servers.key("alpha")
    all_servers.alpha.results["tools/call"] = rounds
    try:
        first = all_servers.call(token, "alpha__echo")
        assert first.json()["result"]["requestState"] == "s-1"
        assert all_servers.stage.row(first)["billable"] is False
        more = {"inputResponses": {}, "requestState": "s-1"}
        second = all_servers.ask(token, "tools/call", "alpha__echo", name="alpha__echo", arguments={}, **more)
    finally:
        all_servers.alpha.results["tools/call"] = done
    assert second.json()["result"]["echo"] == "s-1"
    assert all_servers.alpha.asked[-1]["params"]["name"] == "echo"


def test_unknown_methods_and_those_of_sessions_are_refused(all_servers: All) -> None:
    token = all_servers.key("alpha")
    for method in ("tasks/list", "nonsense"):
        assert all_servers.ask(token, method).json()["error"]["code"] == -32601
    for method in ("initialize", "ping", "logging/setLevel"):
        response = all_servers.ask(token, method)
        assert (response.status_code, response.json()["error"]["code"]) == (404, -32601)


def test_without_a_key_nothing_is_listed(all_servers: All) -> None:
    assert all_servers.ask("wrong", "tools/list").status_code == 401


def test_a_subscription_hears_all_servers(all_servers: All) -> None:
    note = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"a":1}}}'
    all_servers.alpha.notes["subscriptions/listen"] = [note]
    all_servers.alpha.results["subscriptions/listen"] = b'{"resultType":"complete"}'
    token = all_servers.key("alpha", "beta")
    headers = all_servers.stage.modern("subscriptions/listen") | {"authorization": f"Bearer {token}"}
    params = {"notifications": {"toolsListChanged": True, "promptsListChanged": False}}
    heard: list[dict[str, Any]] = []
    url = f"{all_servers.stage.base}/mcp"
    with httpx.stream("POST", url, content=body_of("subscriptions/listen", params, "L1"), headers=headers) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                heard.append(json.loads(line[6:]))
            if len(heard) == 2:
                break
    assert heard[0]["method"] == "notifications/subscriptions/acknowledged"
    assert heard[0]["params"]["notifications"] == {"toolsListChanged": True}
    assert heard[1]["method"] == "notifications/tools/list_changed"
    for message in heard:
        assert message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "L1"


def test_a_subscription_hears_of_resources_that_may_be_read_and_of_no_others(all_servers: All) -> None:
    all_servers.alpha.notes["subscriptions/listen"] = [
        b'{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://one"}}'
    ]
    all_servers.alpha.results["subscriptions/listen"] = b'{"resultType":"complete"}'
    token, key = all_servers.stage.world.key(all_servers.stage.acme)
    all_servers.stage.world.grant(all_servers.stage.acme, all_servers.servers["alpha"], key)
    writes = frozenset({SideEffect.WRITE})
    all_servers.stage.world.grant(all_servers.stage.acme, all_servers.servers["beta"], key, side_effects=writes)
    headers = all_servers.stage.modern("subscriptions/listen") | {"authorization": f"Bearer {token}"}
    uris = ["mcp://alpha/test://one", "mcp://beta/test://one", "mcp://ok/test://one", "test://one"]
    content = body_of("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}}, "L1")
    heard: list[dict[str, Any]] = []
    with httpx.stream("POST", f"{all_servers.stage.base}/mcp", content=content, headers=headers) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                heard.append(json.loads(line[6:]))
            if len(heard) == 2:
                break
    assert heard[0]["params"]["notifications"] == {"resourceSubscriptions": uris[:1]}
    assert heard[1]["params"]["uri"] == uris[0]
    assert all_servers.alpha.asked[-1]["params"]["notifications"] == {"resourceSubscriptions": ["test://one"]}
    # Others may still be asking it for what they listen to.
    listened = [
        one["params"]["notifications"] for one in all_servers.beta.asked if one["method"] == "subscriptions/listen"
    ]
    assert not any("resourceSubscriptions" in notifications for notifications in listened)


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_official_client_uses_all_servers_as_one(all_servers: All, mode: str) -> None:
    token = all_servers.key("sdk", "alpha")
    seen: list[float] = []

    async def run() -> Any:
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=10) as http:
            transport = streamable_http_client(f"{all_servers.stage.base}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:

                async def note(progress: float, total: float | None, message: str | None) -> None:
                    seen.append(progress)

                tools = await client.list_tools()
                added = await client.call_tool("sdk__add", {"a": 1, "b": 2})
                await client.call_tool("sdk__slow", {"steps": 2}, progress_callback=note)
                found = await client.call_tool("marketplace_search_tools", {"query": "slow"})
                if mode == "legacy":
                    await client.send_ping()
                    await client.subscribe_resource("mcp://alpha/test://one")
                return [each.name for each in tools.tools], added.structured_content, found.structured_content

    listed, added, found = asyncio.run(run())
    assert {"sdk__add", "sdk__slow", "alpha__echo"} <= set(listed)
    assert added == {"result": 3}
    assert found["tools"][0]["name"] == "sdk__slow"
    assert seen == [1, 2]
    rows = [row for row in all_servers.stage.rows() if row["tool"] == "add" and row["server_name"] == "sdk"]
    assert (rows[-1]["outcome"], rows[-1]["billable"], rows[-1]["client"]) == ("ok", True, "mcp/0.1.0")
    assert bool(rows[-1]["session_id"]) is (mode == "legacy")


def test_a_session_of_all_servers_is_its_keys_alone(all_servers: All) -> None:
    token, stranger = all_servers.key("alpha"), all_servers.key("alpha")
    url = f"{all_servers.stage.base}/mcp"
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    opened = httpx.post(
        url, content=body_of("initialize", hello, modern=False), headers=all_servers.stage.headers(token), timeout=15
    )
    assert opened.json()["result"]["protocolVersion"] == "2025-06-18"
    session = {"mcp-session-id": opened.headers["mcp-session-id"]}

    def post(method: str, who: str, path: str = "", **more: str) -> httpx.Response:
        headers = {**all_servers.stage.headers(who), **more}
        return httpx.post(url + path, content=body_of(method, {}, modern=False), headers=headers, timeout=15)

    listed = post("tools/list", token, **session).json()["result"]["tools"]
    assert "alpha__echo" in [each["name"] for each in listed]
    assert post("tools/list", token).status_code == 400
    assert post("tools/list", stranger, **session).status_code == 404
    # A session of all servers is none of one server, and the other way round.
    assert post("tools/list", token, "/alpha", **session).status_code == 404
    for method, status in (("GET", 404), ("DELETE", 404)):
        headers = {**all_servers.stage.headers(stranger), **session}
        assert httpx.request(method, url, headers=headers, timeout=15).status_code == status
    assert httpx.delete(url, headers={**all_servers.stage.headers(token), **session}, timeout=15).status_code == 200
    assert post("tools/list", token, **session).status_code == 404


@pytest.mark.skipif(not DEFINITIONS.exists(), reason="the collection of definitions is not here")
def test_every_definition_of_the_collection_is_listed_equal_but_for_its_name(all_servers: All) -> None:
    lines = [json.loads(line) for line in gzip.decompress(DEFINITIONS.read_bytes()).splitlines()]
    definitions = [each for line in lines for each in line["tools"]]
    rules = {each["name"]: ToolRule(each["name"], Trust.LOW, SideEffect.READ) for each in definitions}
    alpha = all_servers.servers["alpha"]
    original = all_servers.alpha.results["tools/list"]
    policy = ServerPolicy(alpha.server_id, PolicyMode.ALLOW_LIST, Trust.LOW, rules)
    stage, passed = all_servers.stage, 0
    owner = next(entry for entry in stage.world.loader.tenants.values() if entry.slug == "initech")
    try:
        for start in range(0, len(definitions), 1000):
            part = definitions[start : start + 1000]
            all_servers.alpha.results["tools/list"] = listing("tools", *part)
            server = stage.world.server(f"collection-{start}", alpha.url, owner)
            stage.world.change_server(server.server_id, policy=replace(policy, server_id=server.server_id))
            all_servers.servers[server.slug] = server
            token, cursor, got = all_servers.key(server.slug), None, []
            while cursor is not None or not got:
                params = {} if cursor is None else {"cursor": cursor}
                result = all_servers.ask(token, "tools/list", **params).json()["result"]
                got += [each for each in result["tools"] if each["name"] not in META_TOOLS]
                cursor = result.get("nextCursor")
            assert got == [{**each, "name": names.expose(server.slug, each["name"])} for each in part]
            passed += len(got)
    finally:
        all_servers.alpha.results["tools/list"] = original
    assert passed == 11_911
