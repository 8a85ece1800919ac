"""What each revision calls the same thing: requests for a session, answers for a modern client."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.mcp.versions import META_CAPABILITIES, META_CLIENT, META_VERSION
from gateway.peers import translate

META = {META_VERSION: "2026-07-28", META_CAPABILITIES: {"roots": {"listChanged": True}, "tasks": {}}, META_CLIENT: {}}
LEVEL = "io.modelcontextprotocol/logLevel"


def test_the_envelope_stays_behind_and_everything_else_goes_on() -> None:
    params = {
        "name": "t",
        "arguments": {"a": 1},
        "requestState": "s",
        "inputResponses": {},
        "x-unknown": [1],
        "_meta": {**META, LEVEL: "info", "traceparent": "00-1", "progressToken": "p", "com.example/x": 1},
    }
    assert translate.params_for_session(params, 5) == {
        "name": "t",
        "arguments": {"a": 1},
        "x-unknown": [1],
        "_meta": {"traceparent": "00-1", "progressToken": 5, "com.example/x": 1},
    }
    assert translate.params_for_session({"_meta": META}, 5) == {}


def test_a_session_declares_what_the_client_declared_less_what_it_cannot_keep() -> None:
    assert translate.capabilities_of({"_meta": META}) == {"roots": {}}
    assert translate.capabilities_of({"_meta": {META_CAPABILITIES: []}}) == {}
    declared = {"sampling": {"tools": {}}, "elicitation": {"url": {}}, "extensions": {"a/b": {}}}
    assert translate.capabilities_of({"_meta": {META_CAPABILITIES: declared}}) == declared


@pytest.mark.parametrize(
    ("capabilities", "request_", "allowed"),
    [
        ({"roots": {}}, {"method": "roots/list"}, True),
        ({"sampling": {}}, {"method": "sampling/createMessage"}, True),
        ({"sampling": {}}, {"method": "roots/list"}, False),
        ({"elicitation": {}}, {"method": "elicitation/create", "params": {}}, True),
        ({"elicitation": {}}, {"method": "elicitation/create", "params": {"mode": "url"}}, False),
        ({"elicitation": {"url": {}}}, {"method": "elicitation/create", "params": {"mode": "url"}}, True),
        ({"elicitation": {"url": {}}}, {"method": "elicitation/create", "params": {"mode": "form"}}, False),
        ({"elicitation": True}, {"method": "elicitation/create", "params": {}}, False),
        ({"elicitation": {}}, {"method": "tools/call"}, False),
    ],
)
def test_a_client_is_asked_what_it_declared(capabilities: Any, request_: Any, *, allowed: bool) -> None:
    assert translate.can_be_asked(capabilities, request_) is allowed


def test_an_answer_keeps_its_members_and_gets_what_the_revision_needs() -> None:
    message = {"jsonrpc": "2.0", "id": 3, "result": {"tools": [], "nextCursor": "n", "_meta": {"a/b": 1}}, "x": 1}
    answer = translate.answer_of(message, "q", "tools/list", {}, {"name": "old"})
    assert answer == {
        "jsonrpc": "2.0",
        "id": "q",
        "x": 1,
        "result": {
            "resultType": "complete",
            "tools": [],
            "nextCursor": "n",
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "old"}, "a/b": 1},
        },
    }
    called = translate.answer_of({"id": 3, "result": {"content": []}}, 1, "tools/call", {}, None)
    assert called["result"] == {"resultType": "complete", "content": []}


@pytest.mark.parametrize(
    ("data", "expected"),
    [(None, {"uri": "u"}), ({"a": 1}, {"uri": "u", "a": 1}), ("why", {"uri": "u", "detail": "why"})],
)
def test_an_old_not_found_is_an_invalid_parameter(data: Any, expected: Any) -> None:
    error = {"code": -32002, "message": "gone", **({"data": data} if data is not None else {})}
    answer = translate.answer_of({"id": 3, "error": error}, 1, "resources/read", {"uri": "u"}, None)
    assert answer["error"] == {"code": -32602, "message": "gone", "data": expected}


def test_other_errors_go_on_unchanged() -> None:
    error = {"code": -32050, "message": "odd", "data": [1]}
    assert translate.answer_of({"id": 3, "error": error}, 1, "tools/call", {}, None)["error"] == error


@pytest.mark.parametrize(("level", "wanted"), [("", False), ("info", True), ("error", False), ("warning", True)])
def test_a_log_message_is_passed_from_its_level_on(level: str, *, wanted: bool) -> None:
    message = {"method": "notifications/message", "params": {"level": "warning"}}
    assert translate.is_wanted(message, level) is wanted


def test_a_level_that_does_not_exist_is_no_level() -> None:
    assert translate.log_level_of({"_meta": {LEVEL: "loud"}}) == ""
    assert translate.is_wanted({"params": {"level": "loud"}}, "debug") is False


def test_a_question_loses_a_token_that_nobody_could_use() -> None:
    asked = {"k": {"id": 1, "method": "roots/list", "params": {"_meta": {"progressToken": 1, "a/b": 2}, "x": 1}}}
    result = translate.input_required(9, asked, "state", None)["result"]
    assert result["inputRequests"] == {"k": {"method": "roots/list", "params": {"_meta": {"a/b": 2}, "x": 1}}}
    assert (result["resultType"], result["requestState"]) == ("input_required", "state")
