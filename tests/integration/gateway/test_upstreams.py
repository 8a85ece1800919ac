"""Servers that fail: the caller gets one clear answer, the row says what happened, nobody pays, nobody else notices."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.gateway.conftest import Stage, body_of
from tests.support.processes import wait_until

FAILURES = [
    ("reset", 502, 50200, "upstream_error"),
    ("malformed", 502, 50200, "upstream_error"),
    ("html", 502, 50200, "upstream_error"),
    ("wrong-id", 502, 50200, "upstream_error"),
    ("text-id", 502, 50200, "upstream_error"),
    ("accepted", 502, 50200, "upstream_error"),
    ("redirect", 502, 50200, "upstream_error"),
    ("unauthorized", 502, 50211, "upstream_error"),
    ("not-allowed", 405, 50200, "upstream_error"),
    ("huge", 502, 50203, "upstream_error"),
    ("huge-headers", 502, 50200, "upstream_error"),
    ("compressed", 502, 50200, "upstream_error"),
    ("not-http", 502, 50200, "upstream_error"),
    ("hang", 504, 50400, "timeout"),
]


@pytest.mark.parametrize(("behaviour", "status", "code", "outcome"), FAILURES)
def test_a_failing_server_gives_one_clear_error_and_an_unpaid_row(
    stage: Stage, behaviour: str, status: int, code: int, outcome: str
) -> None:
    response = stage.call(behaviour)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["data"]["next_step"]
    row = stage.row(response)
    assert (row["outcome"], row["billable"], row["price"], row["allowed"]) == (outcome, False, 0, True)
    assert row["error"]


@pytest.mark.parametrize(("behaviour", "outcome"), [("tool-error", "tool_error"), ("rpc-error", "tool_error")])
def test_an_error_of_the_tool_is_passed_on_and_free(stage: Stage, behaviour: str, outcome: str) -> None:
    response = stage.call(behaviour)
    assert "bad arguments" in response.text or response.json()["result"]["isError"] is True
    row = stage.row(response)
    assert (row["outcome"], row["billable"], row["price"]) == (outcome, False, 0)


def test_a_round_that_asks_for_input_is_not_yet_paid(stage: Stage) -> None:
    row = stage.row(stage.call("input-required"))
    assert (row["outcome"], row["billable"]) == ("ok", False)


def test_a_refused_connection_and_an_unknown_name_are_upstream_errors(stage: Stage) -> None:
    closed = stage.world.server("closed", "http://127.0.0.1:9/", stage.acme)
    nowhere = stage.world.server("nowhere", "http://no-such-host.invalid/", stage.acme)
    for server in (closed, nowhere):
        stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: stage.call("closed").status_code == 502, "the server to be known")
    assert stage.call("nowhere").status_code == 502
    assert stage.row(stage.call("closed"))["outcome"] == "upstream_error"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[::1]:8080/", "http://169.254.169.254/", "http://2130706433/"]
)
def test_a_private_address_is_never_connected_to(stage: Stage, url: str) -> None:
    slug = f"private-{abs(hash(url))}"
    stage.world.grant(stage.acme, stage.world.server(slug, url, stage.acme), stage.key)
    wait_until(lambda: stage.call(slug).status_code == 502, "the server to be known")
    assert stage.call(slug).json()["error"]["data"]["code"] == "upstream.refused"


def test_a_second_reply_on_one_connection_reaches_nobody(stage: Stage) -> None:
    for _ in range(5):
        response = stage.call("two-replies")
        assert "stolen" not in response.text
    assert stage.call("ok").json()["result"]["content"][0]["text"] == "done"


def test_a_stream_is_passed_on_with_comments_and_progress(stage: Stage) -> None:
    response = stage.call("stream")
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["x-accel-buffering"] == "no"
    assert ": ping" in response.text
    assert response.text.index("notifications/progress") < response.text.index('"result"')
    row = stage.row(response)
    assert (row["outcome"], row["billable"]) == ("ok", True)
    assert row["upstream_ms"] > 0


@pytest.mark.parametrize("interface", ["call", "invoke"])
def test_the_time_of_every_era_that_was_tried_is_the_server_s(stage: Stage, interface: str) -> None:
    # An address for each, as what is known of a server is known of its address.
    url = f"{stage.upstream.url('slow-refusal')}?{interface}"
    server = stage.world.server(f"slow-{interface}", url, stage.globex)
    stage.world.grant(stage.acme, server, stage.key)
    row: dict[str, Any] = {}

    def called() -> bool:
        response = getattr(stage, interface)(server.slug)
        if response.status_code == 200:
            row.update(stage.row(response))
        return response.status_code == 200

    wait_until(called, "the gateway to know of the grant")
    assert row["upstream_protocol"] == "2025-06-18"
    # The tool in the modern revision, and what was asked when that was refused: 0.3 s each.
    assert 600 <= row["upstream_ms"] <= row["latency_ms"]


def test_an_answer_cut_into_bytes_and_lines_is_still_seen(stage: Stage) -> None:
    response = stage.call("split-stream")
    assert "done" in response.text
    assert stage.row(response)["outcome"] == "ok"


def test_half_an_event_is_a_sign_of_life(stage: Stage) -> None:
    response = stage.call("slow-event")
    assert "done" in response.text
    assert stage.row(response)["outcome"] == "ok"


def test_an_answer_to_somebody_else_is_not_passed_on(stage: Stage) -> None:
    response = stage.call("stream-other-id")
    assert "secret" not in response.text
    assert stage.row(response)["outcome"] == "ok"


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("stream-reset", "upstream_error"),
        ("stream-ends", "upstream_error"),
        ("stream-garbage", "upstream_error"),
        ("huge-event", "upstream_error"),
        ("stream-hangs", "timeout"),
    ],
)
def test_a_stream_that_breaks_ends_with_one_error_event(stage: Stage, behaviour: str, outcome: str) -> None:
    response = stage.call(behaviour)
    assert response.status_code == 200
    last = response.text.strip().splitlines()[-1]
    assert '"error"' in last
    assert '"id":1' in last
    row = stage.row(response)
    assert (row["outcome"], row["billable"]) == (outcome, False)


def test_the_server_sees_the_message_untouched_and_nothing_of_the_caller(stage: Stage) -> None:
    content = body_of("tools/call", {"name": "echo", "arguments": {"a": [1, {"b": None}]}, "unknown": {"kept": 1}})
    headers = {
        **stage.modern("tools/call", "echo"),
        "cookie": "session=secret",
        "x-forwarded-for": "10.0.0.1",
        "x-api-key": stage.token,
        "mcp-param-region": "=?base64?WsO8cmljaA==?=",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-custom": "no",
    }
    response = httpx.post(f"{stage.base}/mcp/ok", content=content, headers=headers)
    received = stage.upstream.requests[-1]
    assert received.body == content
    names = {name for name, _ in received.headers}
    assert names == {
        "host",
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "mcp-method",
        "mcp-name",
        "mcp-param-region",
        "mcp-protocol-version",
        "traceparent",
        "user-agent",
        "x-marketplace-call-id",
        "x-marketplace-token",
    }
    assert stage.token not in str(received)
    assert received.header("host") == f"127.0.0.1:{stage.upstream.port}"
    assert received.header("x-marketplace-call-id") == response.headers["x-marketplace-call-id"]
    assert stage.row(response)["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


MARKED = {"echo": {"/region": "Region", "/inner/count": "Count", "/dry": "Dry"}}
AGREEING = [
    ({"region": "Zürich", "dry": False}, {"region": "=?base64?WsO8cmljaA==?=", "dry": "false"}),
    ({"region": "us", "inner": {"count": 42}}, {"region": "us", "count": "42"}),
    ({"inner": {"count": 42}}, {"count": "42.0"}),
    ({"inner": {"count": 123456789012345678901234567890}}, {"count": "123456789012345678901234567890"}),
    ({"region": None}, {}),
    ({"region": ["us"], "other": "x"}, {"other": "y"}),
]
DISAGREEING = [
    ({"region": "us"}, {"region": "eu"}),
    ({"region": "us"}, {"region": "US"}),
    ({"region": "us"}, {}),
    ({"region": "us"}, {"region": "=?base64?dXM?="}),
    ({"region": "us"}, {"region": "=?base64?ZXU=?="}),
    ({}, {"region": "us"}),
    ({"region": None}, {"region": "null"}),
    ({"region": ["us"]}, {"region": "us"}),
    ({"inner": {"count": 42}}, {"count": "42.5"}),
    ({"inner": {"count": 123456789012345678901234567890}}, {"count": "123456789012345678901234567891"}),
    ({"inner": {"count": "42"}}, {"count": "42.0"}),
    ({"inner": 42}, {"count": "42"}),
    ({"dry": True}, {"dry": "True"}),
    ({"dry": True}, {"dry": "1"}),
]


@pytest.fixture(scope="module")
def marked(stage: Stage) -> str:
    """A server of which the catalog knows that arguments are mirrored in headers."""
    owner = next(entry for entry in stage.world.loader.tenants.values() if entry.slug == "initech")
    server = stage.world.server("marked", stage.upstream.url("ok"), owner, param_headers=MARKED)
    stage.world.grant(stage.acme, server, stage.key)
    wait_until(lambda: mirroring(stage, server.slug, {}, {}).status_code == 200, "the gateway to know of the grant")
    return server.slug


def mirroring(stage: Stage, slug: str, arguments: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    mirrored = {f"mcp-param-{name}": value for name, value in headers.items()}
    content = body_of("tools/call", {"name": "echo", "arguments": arguments})
    return httpx.post(
        f"{stage.base}/mcp/{slug}", content=content, headers=stage.modern("tools/call", "echo") | mirrored
    )


@pytest.mark.parametrize(("arguments", "headers"), AGREEING)
def test_headers_that_mirror_arguments_pass_when_they_say_the_same(
    stage: Stage, marked: str, arguments: dict[str, Any], headers: dict[str, str]
) -> None:
    response = mirroring(stage, marked, arguments, headers)
    assert (response.status_code, stage.row(response)["outcome"]) == (200, "ok")
    received = stage.upstream.requests[-1]
    assert {name: received.header(f"mcp-param-{name}") for name in headers} == headers


@pytest.mark.parametrize(("arguments", "headers"), DISAGREEING)
def test_headers_that_say_something_else_than_the_arguments_are_refused(
    stage: Stage, marked: str, arguments: dict[str, Any], headers: dict[str, str]
) -> None:
    before = len(stage.upstream.requests)
    response = mirroring(stage, marked, arguments, headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, -32020)
    assert (stage.row(response)["outcome"], len(stage.upstream.requests)) == ("denied", before)


def test_routing_headers_of_a_legacy_request_are_neither_believed_nor_forwarded(stage: Stage) -> None:
    content = body_of("tools/call", {"name": "echo"}, modern=False)
    headers = {**stage.headers(), "mcp-name": "erase", "mcp-method": "x", "mcp-protocol-version": "2025-11-25"}
    assert httpx.post(f"{stage.base}/mcp/ok", content=content, headers=headers).status_code == 200
    names = {name for name, _ in stage.upstream.requests[-1].headers}
    assert "mcp-name" not in names
    assert "mcp-method" not in names


def test_connections_are_kept_and_used_again(stage: Stage) -> None:
    stage.call("ok")
    before = stage.upstream.connections
    for _ in range(5):
        stage.call("ok")
    assert stage.upstream.connections == before


def test_a_modern_client_that_leaves_cancels_the_server(stage: Stage) -> None:
    before = stage.upstream.disconnects
    headers = stage.modern("tools/call", "echo")
    content = body_of("tools/call", {"name": "echo", "arguments": {}})
    url = f"{stage.base}/mcp/stream-hangs"
    with httpx.stream("POST", url, content=content, headers=headers, timeout=10) as response:
        call_id = response.headers["x-marketplace-call-id"]
        next(response.iter_raw())
    wait_until(lambda: stage.upstream.disconnects > before, "the server to see the end", deadline_s=1.5)
    wait_until(lambda: any(str(row["call_id"]) == call_id for row in stage.rows()), "the row", deadline_s=5)
    (row,) = [row for row in stage.rows() if str(row["call_id"]) == call_id]
    assert (row["outcome"], row["billable"]) == ("unknown", False)


def test_a_modern_client_that_leaves_before_the_first_byte_cancels_the_server(stage: Stage) -> None:
    before = stage.upstream.disconnects
    content = body_of("tools/call", {"name": "echo", "arguments": {}})
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{stage.base}/mcp/hang", content=content, headers=stage.modern("tools/call", "echo"), timeout=0.3)
    wait_until(lambda: stage.upstream.disconnects > before, "the server to see the end", deadline_s=1.5)


def test_a_legacy_client_that_leaves_does_not_cancel(stage: Stage) -> None:
    rows = len(stage.rows())
    content = body_of("tools/call", {"name": "slow", "arguments": {"steps": 10}}, modern=False)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{stage.base}/mcp/hang", content=content, headers=stage.headers(), timeout=0.3)
    wait_until(lambda: len(stage.rows()) > rows, "the row", deadline_s=10)
    # It was waited for until its deadline, so the row says timeout and not that the caller left.
    assert stage.rows()[-1]["outcome"] == "timeout"


def test_a_subscription_is_one_call_that_ends_when_its_listener_leaves(stage: Stage) -> None:
    content = body_of("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "L1")
    headers = stage.modern("subscriptions/listen")
    with httpx.stream("POST", f"{stage.base}/mcp/sdk", content=content, headers=headers, timeout=10) as response:
        call_id = response.headers["x-marketplace-call-id"]
        assert "acknowledged" in next(response.iter_text())
        assert call_id not in {str(row["call_id"]) for row in stage.rows()}
    wait_until(lambda: call_id in {str(row["call_id"]) for row in stage.rows()}, "the row", deadline_s=5)
    (row,) = [row for row in stage.rows() if str(row["call_id"]) == call_id]
    assert (row["method"], row["outcome"], row["billable"]) == ("subscriptions/listen", "ok", False)


def test_an_answer_on_the_listening_stream_is_dropped(stage: Stage) -> None:
    headers = {**stage.headers(), "accept": "text/event-stream", "mcp-protocol-version": "2025-11-25"}
    response = httpx.get(f"{stage.base}/mcp/stream-unasked", headers=headers, timeout=10)
    assert "notifications/message" in response.text
    assert '"result"' not in response.text
