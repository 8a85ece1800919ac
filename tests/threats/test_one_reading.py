"""One message, one reading: whatever the gateway decides on is what any parser behind it sees, or the message is refused.

Servers are written in many languages, so a message is held against parsers that resolve its ambiguities differently: the last of
two equal keys (Python, JavaScript), the first one, and keys without regard to case (Go). THREAT_EXAMPLES sets how many messages
are tried.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.mcp import messages, versions
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import Shape

EXAMPLES = int(os.environ.get("THREAT_EXAMPLES", "1500"))
SAFE, DANGEROUS = "list_invoices", "refund_invoice"

NAMES = st.sampled_from(
    [SAFE, DANGEROUS, "LIST_INVOICES", "list_invoices\u200b", "liſt_invoices", "list_invoices ", ""]
)
METHODS = st.sampled_from(["tools/call", "tools/list", "Tools/Call", "tools/call ", "resources/read", "ping", "x"])
SPELLINGS = {
    "method": ["method", "Method", "METHOD", "m\\u0065thod", "method\\u0000", " method"],
    "params": ["params", "Params", "PARAMS", "par\\u0061ms"],
    "name": ["name", "Name", "NAME", "n\\u0061me", "ｎame"],
    "id": ["id", "ID", "Id", "\\u0069d"],
    "jsonrpc": ["jsonrpc", "JsonRpc"],
}


def member(key: str, value: str) -> st.SearchStrategy[str]:
    return st.sampled_from(SPELLINGS[key]).map(lambda spelt: f'"{spelt}": {value}')


@st.composite
def documents(draw: Any) -> str:
    """JSON text of a request, with members repeated, respelt, reordered and, at times, wrapped in a batch."""
    inside = draw(st.lists(NAMES.flatmap(lambda name: member("name", json.dumps(name))), min_size=1, max_size=3))
    inside += draw(
        st.lists(st.sampled_from(['"arguments": {}', '"arguments": {"a": 1, "a": 2}', '"_meta": {}']), max_size=2)
    )
    params = [f"{{{', '.join(draw(st.permutations(inside)))}}}" for _ in range(draw(st.integers(1, 2)))]
    outside = [draw(member("jsonrpc", '"2.0"')), draw(member("id", draw(st.sampled_from(["1", '"1"', "1.0", "null"]))))]
    outside += [draw(member("params", each)) for each in params]
    outside += draw(st.lists(METHODS.flatmap(lambda name: member("method", json.dumps(name))), min_size=1, max_size=2))
    text = f"{{{', '.join(draw(st.permutations(outside)))}}}"
    return draw(st.sampled_from([text, text, text, f"[{text}]", f"{text} ", f"\ufeff{text}", f"{text}{text}"]))


def last_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def any_case(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key.lower(): value for key, value in pairs}


def first_of_any_case(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key.lower(): value for key, value in reversed(pairs)}


PARSERS: list[Callable[[list[tuple[str, Any]]], dict[str, Any]]] = [last_wins, first_wins, any_case, first_of_any_case]


def reading(text: str, pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]]) -> tuple[Any, Any]:
    data = json.loads(text, object_pairs_hook=pairs)
    params = data.get("params")
    return data.get("method"), params.get("name") if isinstance(params, dict) else None


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
@example(f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{SAFE}","name":"{DANGEROUS}"}}}}')
@example(f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{SAFE}","Name":"{DANGEROUS}"}}}}')
@example(f'[{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{DANGEROUS}"}}}}]')
def test_what_is_decided_on_is_what_every_parser_reads(text: str) -> None:
    try:
        message = messages.read(text.encode(), 64)
    except RefusedError:
        return
    if message.defect is not None:
        return
    assert message.shape is Shape.REQUEST
    for pairs in PARSERS:
        method, name = reading(text, pairs)
        assert method == message.method
        if message.method in {"tools/call", "prompts/get"}:
            assert name == message.name


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    body_name=NAMES.filter(bool),
    header_name=NAMES,
    encoded=st.booleans(),
    header_method=METHODS,
    body_method=st.sampled_from(["tools/call", "prompts/get"]),
)
def test_headers_that_say_anything_else_than_the_body_are_refused(
    body_name: str, header_name: str, encoded: bool, header_method: str, body_method: str
) -> None:
    meta = {versions.META_VERSION: "2026-07-28", versions.META_CAPABILITIES: {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": body_method, "params": {"name": body_name, "_meta": meta}}
    message = messages.read(json.dumps(body).encode(), 64)
    sent = versions.encode_header(header_name) if encoded else header_name.encode()
    headers = {b"mcp-protocol-version": b"2026-07-28", b"mcp-method": header_method.encode(), b"mcp-name": sent}
    defect = message.defect or versions.check_modern(message, headers)

    # White space around a header's value is no part of it.
    read = header_name if encoded else sent.decode("latin-1").strip()
    assert (defect is None) == (header_method.strip() == body_method and read == body_name)
