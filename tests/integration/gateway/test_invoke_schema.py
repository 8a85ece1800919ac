"""What `/v1/openapi.json` says of plain calls is what they answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from marketplace.pages import invoke_schema
from tests.integration.gateway.conftest import Stage

DOCUMENT = invoke_schema.document("https://market.example")


def check(response: httpx.Response) -> None:
    """Raises when the answer is not one of the described ones."""
    described = DOCUMENT["paths"]["/v1/invoke"]["post"]["responses"][str(response.status_code)]
    content_type = response.headers["content-type"].partition(";")[0]
    schema = {**described["content"][content_type]["schema"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(response.json())


def test_every_schema_is_one() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("server", "tool", "status"),
    [
        ("sdk", "add", 200),
        ("sdk", "fail", 200),
        ("sdk", "erase", 403),
        ("sdk", "nothing", 403),
        ("nobody", "add", 404),
        ("malformed", "echo", 502),
        ("rpc-error", "echo", 400),
        ("hang", "echo", 504),
    ],
)
def test_answers_and_refusals_are_as_described(stage: Stage, server: str, tool: str, status: int) -> None:
    response = stage.invoke(server, tool, **({"a": 1, "b": 2} if tool == "add" else {}))
    assert response.status_code == status
    check(response)


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, b"{", 400),
        ({}, b'{"server":"sdk"}', 400),
        ({}, b'{"server":"sdk","tool":"add","more":1}', 400),
        ({"content-type": "text/plain"}, b"{}", 415),
        ({"authorization": "Bearer wrong"}, b"{}", 401),
        ({"host": "evil.example"}, b"{}", 421),
    ],
)
def test_what_is_wrong_with_a_request_is_told_as_described(
    stage: Stage, headers: dict[str, str], content: bytes, status: int
) -> None:
    sent: dict[str, Any] = stage.headers() | headers
    response = httpx.post(f"{stage.base}/v1/invoke", content=content, headers=sent, timeout=10)
    assert response.status_code == status
    check(response)


def test_a_request_that_is_described_as_wrong_is_refused(stage: Stage) -> None:
    schema = DOCUMENT["components"]["schemas"]["Call"]
    for body in ({"server": "sdk"}, {"server": "", "tool": "x"}, {"server": "sdk", "tool": "add", "x": 1}):
        assert not Draft202012Validator(schema).is_valid(body)
        assert httpx.post(f"{stage.base}/v1/invoke", json=body, headers=stage.headers()).status_code == 400
