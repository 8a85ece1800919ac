"""Tasks pass through in both eras, belong to the key that started them, and are billed once, when their result is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from access.limits import LimitKind, LimitRule, LimitScope, Period, to_units
from access.types import ToolTerm
from gateway.entries import KeyEntry, Price, ServerEntry
from gateway.mcp import sse
from gateway.mcp.tasks import EXTENSION, RELATED
from tests.integration.gateway.conftest import Stage, body_of
from tests.support.gateways import config_for, make_call_tables, running_gateway, serving
from tests.support.raw_servers import RawServer

OLD = "2025-11-25"
DONE = {"content": [{"type": "resource_link", "uri": "file:///x", "name": "x"}]}


@dataclass
class Keeper:
    """What a server knows of its tasks. An id is as easily guessed as can be."""

    server: RawServer = field(default_factory=RawServer)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server.results |= {
            "tools/call": self._start,
            "tasks/get": self._get,
            "tasks/result": self._result,
            "tasks/update": lambda message: b'{"resultType": "complete"}',
            "tasks/cancel": lambda message: self._text(self._state(message)),
            "tools/list": b'{"tools": []}',
            "initialize": b'{"protocolVersion": "2025-11-25", "serverInfo": {"name": "k", "version": "1"},'
            b' "capabilities": {"tasks": {"list": {}, "cancel": {}}, "tools": {}}}',
            "server/discover": self._text({"capabilities": {"tools": {}, "extensions": {EXTENSION: {}}}}),
        }

    @staticmethod
    def _text(value: dict[str, Any]) -> bytes:
        return json.dumps({"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **value}).encode()

    def _state(self, message: dict[str, Any]) -> dict[str, Any]:
        return self.states[message["params"]["taskId"]]

    def _start(self, message: dict[str, Any]) -> bytes:
        task_id = f"task-{len(self.states)}"
        self.states[task_id] = {"taskId": task_id, "status": "working"}
        if "task" in message["params"]:
            return json.dumps({"task": self.states[task_id], "x": 1}).encode()
        return json.dumps({"resultType": "task", **self.states[task_id], "pollIntervalMs": 1.50}).encode()

    def _get(self, message: dict[str, Any]) -> bytes:
        return self._text(self._state(message))

    def _result(self, message: dict[str, Any]) -> bytes:
        state = self._state(message)
        return json.dumps({**state["result"], "_meta": {RELATED: {"taskId": state["taskId"]}}}).encode()

    def finish(self, number: int = -1, **state: Any) -> None:
        task_id = list(self.states)[number]
        self.states[task_id] = {"taskId": task_id, "status": "completed", "result": DONE, **state}


@dataclass
class Client:
    """One key at one of the gateways, in one era."""

    stage: Stage
    base: str
    slug: str
    token: str
    key: KeyEntry
    modern: bool = True

    def ask(self, method: str, name: str | None = None, /, **params: Any) -> httpx.Response:
        headers = self.stage.modern(method, name) if self.modern else self.stage.headers(mcp_protocol_version=OLD)
        path = f"/mcp/{self.slug}" if self.slug else "/mcp"
        headers |= {"authorization": f"Bearer {self.token}"}
        content = body_of(method, params, modern=self.modern)
        return httpx.post(f"{self.base}{path}", content=content, headers=headers, timeout=15)

    def start(self, tool: str = "echo") -> str:
        """A task; the id that the client holds."""
        more = {} if self.modern else {"task": {"ttl": 60_000}}
        result = self.ask("tools/call", tool, name=tool, arguments={}, **more).json()["result"]
        return result["taskId"] if self.modern else result["task"]["taskId"]

    def about(self, task_id: str, method: str = "tasks/get", **params: Any) -> httpx.Response:
        return self.ask(method, task_id, taskId=task_id, **params)


@dataclass
class Setting:
    stage: Stage
    bases: list[str]
    keeper: Keeper
    port: int
    count: int = 0
    entry: ServerEntry = field(init=False)

    def client(self, *, modern: bool = True, price: str | None = "0.02") -> Client:
        """A key of a fresh organisation, so that the rows are of this test alone, and a fresh server."""
        self.count += 1
        world = self.stage.world
        owner = next(entry for entry in world.loader.tenants.values() if entry.slug == "initech")
        price_entry = None if price is None else Price(uuid4(), Decimal(price), "USD")
        self.entry = world.server(
            f"keeper-{self.count}",
            f"http://127.0.0.1:{self.port}/mcp",
            owner,
            protocol="2026-07-28" if modern else OLD,
            price=price_entry,
        )
        return self.key(self.entry, modern=modern)

    def key(self, entry: ServerEntry, tenant: Any = None, *, modern: bool = True) -> Client:
        tenant = tenant or self.stage.acme
        token, key = self.stage.world.key(tenant)
        self.stage.world.grant(tenant, entry, key)
        return Client(self.stage, self.bases[0], entry.slug, token, key, modern)

    def bills(self, client: Client) -> list[dict[str, Any]]:
        return [row for row in self.stage.rows() if row["billable"] and row["api_key_id"] == client.key.api_key_id]


@pytest.fixture(scope="module")
def setting(build_stage: Any, urls: tuple[str, str], sdk_port: int) -> Iterator[Setting]:
    make, world, upstream = build_stage()
    keeper = Keeper()
    with serving(keeper.server) as port:
        config = config_for(*urls, upstream.port, sdk_port, port)
        with running_gateway(config, world.loader) as one, running_gateway(config, world.loader) as two:
            yield Setting(make(one), [one, two], keeper, port)


def error_of(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    return error["code"], error["data"]["code"]


UNKNOWN = (-32602, "gateway.task_unknown")


def test_a_task_is_known_by_another_id_and_nothing_else_changes(setting: Setting) -> None:
    client, keeper = setting.client(), setting.keeper
    response = client.ask("tools/call", "echo", name="echo", arguments={})
    own_id = list(keeper.states)[-1]
    task_id = response.json()["result"]["taskId"]
    assert own_id not in response.text
    sent = json.dumps({"resultType": "task", **keeper.states[own_id], "pollIntervalMs": 1.50})
    assert response.text == f'{{"jsonrpc": "2.0",\n "result": {sent.replace(own_id, task_id)}, "id": 1}}'

    for _ in range(2):
        assert client.about(task_id).json()["result"]["taskId"] == task_id
        assert keeper.server.asked[-1]["params"]["taskId"] == own_id
        assert keeper.server.headers[-1]["mcp-name"] == own_id


def test_the_result_is_billed_once_however_often_it_is_fetched(setting: Setting) -> None:
    client = setting.client()
    started = client.ask("tools/call", "echo", name="echo", arguments={})
    task_id = started.json()["result"]["taskId"]
    assert client.about(task_id).json()["result"]["status"] == "working"
    assert setting.bills(client) == []
    setting.keeper.finish()
    answers = [client.about(task_id) for _ in range(3)]
    assert [answer.json()["result"]["result"] for answer in answers] == [DONE] * 3

    (bill,) = setting.bills(client)
    first, asked = setting.stage.row(started), setting.stage.row(answers[0])
    assert (bill["method"], bill["tool"], bill["price"], bill["quantity"]) == ("tools/call", "echo", Decimal("0.02"), 1)
    assert bill["request_id"] == f"task of {first['call_id']}"
    assert bill["price_version_id"] == first["price_version_id"]
    assert (first["billable"], asked["billable"], asked["method"], asked["tool"]) == (False, False, "tasks/get", "echo")


def test_many_who_fetch_it_at_once_at_two_gateways_pay_once(setting: Setting) -> None:
    client = setting.client()
    task_id = client.start()
    setting.keeper.finish()
    clients = [replace(client, base=base) for base in setting.bases * 8]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda each: each.about(task_id), clients))
    assert {answer.status_code for answer in answers} == {200}
    assert len(setting.bills(client)) == 1


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ({"result": {**DONE, "isError": True}}, "tool_error"),
        ({"status": "failed", "result": None, "error": {"code": 1, "message": "no"}}, "tool_error"),
        ({"status": "cancelled", "result": None}, "ok"),
        ({"result": {"resultType": "input_required"}}, "ok"),
    ],
)
def test_what_is_no_good_result_costs_nothing(setting: Setting, state: dict[str, Any], outcome: str) -> None:
    client = setting.client()
    task_id = client.start()
    setting.keeper.finish(**state)
    assert setting.stage.row(client.about(task_id))["outcome"] == outcome
    assert setting.bills(client) == []


@pytest.mark.parametrize(("present", "paid"), [("0.05", "0.02"), ("0.01", "0.01")])
def test_nobody_pays_more_than_they_were_told_at_the_start(setting: Setting, present: str, paid: str) -> None:
    client = setting.client()
    task_id = client.start()
    setting.keeper.finish()
    setting.stage.world.change_server(setting.entry.server_id, price=Price(uuid4(), Decimal(present), "USD"))
    eventually_priced(setting, client, present)
    client.about(task_id)
    bills = [bill for bill in setting.bills(client) if bill["request_id"].startswith("task of")]
    assert [bill["price"] for bill in bills] == [Decimal(paid)]


def eventually_priced(setting: Setting, client: Client, price: str) -> None:
    """Until the gateway knows the price: what a call is quoted says so."""
    while True:
        quoted = setting.stage.row(client.ask("tools/call", "echo", name="echo", arguments={}))["quoted_price"]
        if quoted == Decimal(price):
            return


def test_a_spent_cap_keeps_the_result_back(setting: Setting) -> None:
    client = setting.client(price="1")
    tenant = setting.stage.world.tenant("capped", limits=())
    rule = LimitRule("cap", "Cap", LimitScope.ORGANISATION, LimitKind.CAP, to_units(Decimal("1.5")), Period.MONTH)
    make_call_tables(setting.stage.database_url, [tenant.schema_name])
    setting.stage.world.change(tenant.tenant_id, limits=(rule,))
    client = setting.key(setting.entry, setting.stage.world.loader.tenants[tenant.tenant_id])
    one, two = client.start(), client.start()
    for number in (-1, -2):
        setting.keeper.finish(number)
    answers = [client.about(one), client.about(one), client.about(two)]
    assert [answer.status_code for answer in answers] == [200, 402, 402]
    assert client.about(two, "tasks/cancel").status_code == 200


def test_another_key_organisation_or_server_does_not_know_the_task(setting: Setting) -> None:
    owner = setting.client()
    task_id, own_id = owner.start(), list(setting.keeper.states)[-1]
    entry = setting.entry
    elsewhere = setting.client()
    asked = len(setting.keeper.server.asked)
    strangers = [
        setting.key(entry),
        setting.key(entry, setting.stage.globex),
        replace(owner, slug=elsewhere.slug),
        replace(elsewhere, slug=elsewhere.slug),
    ]
    setting.stage.world.grant(setting.stage.acme, setting.entry, owner.key)
    for stranger in strangers:
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            assert error_of(stranger.about(task_id, method)) in {UNKNOWN, (40300, "access.no_matching_grant")}
    for wrong in (own_id, task_id[:-1], task_id.swapcase(), "x"):
        assert error_of(owner.about(wrong)) == UNKNOWN
    assert len(setting.keeper.server.asked) == asked
    assert owner.about(task_id).status_code == 200


def test_a_grant_that_ends_ends_the_questions_about_the_task(setting: Setting) -> None:
    client = setting.client()
    task_id = client.start()
    setting.keeper.finish()
    world = setting.stage.world
    grants = dict(world.loader.tenants[setting.stage.acme.tenant_id].grants)
    (grant,) = grants[setting.entry.server_id]
    grants[setting.entry.server_id] = (replace(grant, tool_rules={"add": ToolTerm()}),)
    world.change(setting.stage.acme.tenant_id, grants=grants)
    while client.ask("tools/call", "echo", name="echo", arguments={}).status_code == 200:
        pass
    asked = len(setting.keeper.server.asked)
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        assert error_of(client.about(task_id, method))[1] == "access.tool_not_granted"
    assert len(setting.keeper.server.asked) == asked


def test_answers_to_a_task_s_questions_and_cancellations_pass(setting: Setting) -> None:
    client = setting.client()
    task_id, own_id = client.start(), list(setting.keeper.states)[-1]
    responses = {"q": {"action": "accept"}}
    assert client.about(task_id, "tasks/update", inputResponses=responses).status_code == 200
    params = setting.keeper.server.asked[-1]["params"]
    assert (params["taskId"], params["inputResponses"]) == (own_id, responses)
    assert client.about(task_id, "tasks/cancel").json()["result"]["taskId"] == task_id


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    texts = [sse.data_of(event) for event in sse.EventCutter(1_000_000).feed(response.content)]
    return [json.loads(text) for text in texts if text]


@pytest.mark.parametrize(("price", "told"), [("0.02", ["working"]), (None, ["working", "completed"])])
def test_news_of_one_s_own_tasks_is_heard_and_brings_no_result_for_free(
    setting: Setting, price: str | None, told: list[str]
) -> None:
    client = setting.client(price=price)
    task_id, own_id = client.start(), list(setting.keeper.states)[-1]
    foreign = setting.key(setting.entry).start()
    foreign_own = list(setting.keeper.states)[-1]
    note = '{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"%s","status":"%s"%s}}'
    result = f',"result":{json.dumps(DONE)}'
    setting.keeper.server.notes["subscriptions/listen"] = [
        json.dumps(
            {
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {"notifications": {"toolsListChanged": True, "taskIds": [own_id]}},
            }
        ).encode(),
        (note % (own_id, "working", "")).encode(),
        (note % (foreign_own, "working", "")).encode(),
        (note % (own_id, "completed", result)).encode(),
    ]
    setting.keeper.server.results["subscriptions/listen"] = b'{"resultType": "complete"}'
    wanted = {"toolsListChanged": True, "taskIds": [task_id, foreign, own_id, 7]}
    events = events_of(client.ask("subscriptions/listen", notifications=wanted))
    asked = next(m for m in reversed(setting.keeper.server.asked) if m["method"] == "subscriptions/listen")
    assert asked["params"]["notifications"] == {"toolsListChanged": True, "taskIds": [own_id]}
    assert events[0]["params"]["notifications"]["taskIds"] == [task_id]
    assert [event["params"]["status"] for event in events[1:-1]] == told
    assert {event["params"]["taskId"] for event in events[1:-1]} == {task_id}


@pytest.mark.parametrize(("price", "told"), [("0.02", ["working"]), (None, ["working", "completed"])])
def test_news_of_tasks_is_heard_at_the_endpoint_of_all_servers(
    setting: Setting, price: str | None, told: list[str]
) -> None:
    client = setting.client(price=price)
    task_id, own_id = client.start(), list(setting.keeper.states)[-1]
    foreign = setting.key(setting.entry).start()
    foreign_own = list(setting.keeper.states)[-1]
    note = '{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"%s","status":"%s"%s}}'
    result = f',"result":{json.dumps(DONE)}'
    setting.keeper.server.notes["subscriptions/listen"] = [
        (note % (foreign_own, "working", "")).encode(),
        (note % (own_id, "working", "")).encode(),
        (note % (own_id, "completed", result)).encode(),
        b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}',
    ]
    setting.keeper.server.results["subscriptions/listen"] = b'{"resultType": "complete"}'
    heard: list[dict[str, Any]] = []
    wanted = {"toolsListChanged": True, "taskIds": [task_id, foreign, own_id, 7]}
    headers = setting.stage.modern("subscriptions/listen") | {"authorization": f"Bearer {client.token}"}
    content = body_of("subscriptions/listen", {"notifications": wanted})
    with httpx.stream("POST", f"{client.base}/mcp", content=content, headers=headers, timeout=15) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                heard.append(json.loads(line[6:]))
            if heard and heard[-1]["method"] == "notifications/tools/list_changed":
                break
    asked = next(m for m in reversed(setting.keeper.server.asked) if m["method"] == "subscriptions/listen")
    assert asked["params"]["notifications"] == {"toolsListChanged": True, "taskIds": [own_id]}
    assert heard[0]["params"]["notifications"] == {"toolsListChanged": True, "taskIds": [task_id]}
    assert [each["params"]["status"] for each in heard[1:-1]] == told
    assert {each["params"]["taskId"] for each in heard[1:-1]} == {task_id}


def test_an_older_task_is_fetched_with_its_result_and_billed_once(setting: Setting) -> None:
    client = setting.client(modern=False)
    task_id, own_id = client.start(), list(setting.keeper.states)[-1]
    assert task_id != own_id
    state = client.about(task_id).json()["result"]
    assert (state["taskId"], state["status"]) == (task_id, "working")
    assert setting.bills(client) == []
    setting.keeper.finish()
    for _ in range(2):
        result = client.about(task_id, "tasks/result").json()["result"]
        assert result["content"] == DONE["content"]
        assert result["_meta"][RELATED]["taskId"] == task_id
    (bill,) = setting.bills(client)
    assert (bill["method"], bill["tool"], bill["price"]) == ("tools/call", "echo", Decimal("0.02"))
    assert client.about(task_id, "tasks/cancel").json()["result"]["taskId"] == task_id


def test_older_tasks_are_not_listed_and_nobody_is_offered_to(setting: Setting) -> None:
    client = setting.client(modern=False)
    hello = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    welcome = client.ask("initialize", **hello).json()["result"]
    assert welcome["capabilities"] == {"tasks": {"cancel": {}}, "tools": {}}
    client.start()
    refused = client.ask("tasks/list")
    assert error_of(refused) == (-32601, "access.method_unknown")
    assert "task-" not in refused.text


def test_an_older_client_learns_of_an_unknown_task_in_a_message(setting: Setting) -> None:
    client = setting.client(modern=False)
    foreign = setting.key(setting.entry, modern=False).start()
    response = client.about(foreign)
    assert (response.status_code, error_of(response)) == (200, UNKNOWN)


def test_news_of_foreign_tasks_on_an_older_stream_is_dropped(setting: Setting) -> None:
    client = setting.client(modern=False)
    task_id, own_id = client.start(), list(setting.keeper.states)[-1]
    note = '{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"%s","status":"working"}}'
    setting.keeper.server.notes["tasks/get"] = [(note % each).encode() for each in (own_id, "task-of-others")]
    try:
        events = events_of(client.about(task_id))
    finally:
        del setting.keeper.server.notes["tasks/get"]
    assert [event.get("params", event.get("result"))["taskId"] for event in events] == [task_id] * 2


def test_among_all_servers_the_id_says_where_the_task_is(setting: Setting) -> None:
    client = setting.client()
    everywhere = replace(client, slug="")
    name = f"{client.slug}__echo"
    task_id = everywhere.ask("tools/call", name, name=name, arguments={}).json()["result"]["taskId"]
    own_id = list(setting.keeper.states)[-1]
    setting.keeper.finish()
    result = everywhere.about(task_id).json()["result"]
    assert (result["taskId"], setting.keeper.server.headers[-1]["mcp-name"]) == (task_id, own_id)
    assert result["result"]["content"][0]["uri"] == f"mcp://{client.slug}/file:///x"
    assert client.about(task_id).json()["result"]["taskId"] == task_id
    assert len(setting.bills(client)) == 1
    assert error_of(replace(setting.key(setting.entry), slug="").about(task_id)) == UNKNOWN
    assert EXTENSION in everywhere.ask("server/discover").json()["result"]["capabilities"]["extensions"]


def test_an_older_client_has_tasks_of_a_server_of_the_modern_revision(setting: Setting) -> None:
    opener = setting.client()
    client = replace(opener, modern=False)
    hello = {
        "protocolVersion": OLD,
        "capabilities": {"extensions": {EXTENSION: {}}},
        "clientInfo": {"name": "c", "version": "1"},
    }
    # It knows no handshake.
    welcome = setting.keeper.server.results.pop("initialize")
    try:
        session = client.ask("initialize", **hello).headers["mcp-session-id"]
    finally:
        setting.keeper.server.results["initialize"] = welcome

    def ask(method: str, **params: Any) -> dict[str, Any]:
        headers = setting.stage.headers(client.token, mcp_protocol_version=OLD, mcp_session_id=session)
        content = body_of(method, params, modern=False)
        url = f"{client.base}/mcp/{client.slug}"
        return httpx.post(url, content=content, headers=headers, timeout=15).json()["result"]

    task_id = ask("tools/call", name="echo", arguments={})["taskId"]
    setting.keeper.finish()
    assert ask("tasks/get", taskId=task_id)["taskId"] == task_id
    assert len(setting.bills(client)) == 1
