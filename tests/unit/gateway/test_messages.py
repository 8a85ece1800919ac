"""Reading a message: shapes, and everything that another parser could read differently."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mcp import messages, versions
from gateway.mcp.errors import KINDS, RefusedError
from gateway.mcp.messages import Shape

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def read(data: object, **options: object) -> messages.Message:
    return messages.read(json.dumps(data, **options).encode(), 64)  # type: ignore[arg-type]


def test_three_shapes_are_told_apart() -> None:
    assert read({"jsonrpc": "2.0", "id": 1, "method": "ping"}).shape is Shape.REQUEST
    assert read({"jsonrpc": "2.0", "method": "notifications/initialized"}).shape is Shape.NOTIFICATION
    assert read({"jsonrpc": "2.0", "id": "a", "result": {}}).shape is Shape.RESPONSE
    assert read({"jsonrpc": "2.0", "id": "a", "error": {"code": 1, "message": ""}}).shape is Shape.RESPONSE


@pytest.mark.parametrize("options", [{}, {"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}])
def test_the_way_a_document_is_written_does_not_matter(options: dict[str, object]) -> None:
    message = read({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "grüße"}}, **options)
    assert message.defect is None
    assert message.name == "grüße"


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(_VALUES, st.sampled_from([None, (",", ":")]))
def test_no_honest_arguments_are_refused(arguments: object, separators: tuple[str, str] | None) -> None:
    data = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x", "arguments": arguments}}
    try:
        body = json.dumps(data, separators=separators).encode()
        body.decode().encode("utf-8")
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return  # half of a surrogate pair is no text
    assert messages.read(body, 64).defect is None


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), st.integers(), min_size=1, max_size=5),
    st.integers(),
)
def test_a_repeated_key_is_seen_wherever_it_is(pairs: dict[str, int], other: int) -> None:
    key = next(iter(pairs))
    members = [*pairs.items(), (key, other)]
    inner = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members) + "}"
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{{"deep":[{inner}]}}}}}}'
    assert messages.read(body.encode(), 64).defect is not None


def test_a_look_alike_within_meta_is_refused_and_odd_keys_are_not() -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    twin = {**META, "IO.modelcontextprotocol/protocolVersion": "2025-11-25"}
    assert read({**call, "params": {"_meta": {**META, "acme/Note": 1, "progressToken": 2}}}).defect is None
    assert read({**call, "params": {"_meta": twin}}).defect is not None
    assert read({**call, "params": {"_meta": {"acme/note": 1, "acme/Note": 2}}}).defect is not None


@pytest.mark.parametrize("key", ["Method", "METHOD", "param\u017f", "\u212aey", "Id"])
def test_a_look_alike_of_an_envelope_key_is_refused(key: str) -> None:
    message = read({"jsonrpc": "2.0", "id": 1, "method": "ping", key: "x"})
    assert (message.defect is None) == (key == "\u212aey")


def test_the_depth_is_limited_and_braces_in_text_are_not_depth() -> None:
    deep: object = 1
    for _ in range(62):
        deep = [deep]
    assert read({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": deep}}).defect is None
    with pytest.raises(RefusedError):
        read({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": [deep]}})
    assert read({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": "[{" * 500}}).defect is None


def test_eras_are_told_apart_by_the_version_alone_and_an_unknown_one_is_held_to_the_stricter_rules() -> None:
    modern = {b"2026-07-28", b"2027-01-01", b"2099-12-31", b"2026-07-27", b"v999.0.0", b"zzzz", b"2025-11-25x"}
    legacy = {b"", b"2025-11-25", b"2025-06-18", b"2025-03-26", b"2024-11-05"}
    assert all(map(versions.is_modern, modern))
    assert not any(map(versions.is_modern, legacy))


@given(st.text(st.characters(codec="utf-8")))
def test_a_mirrored_name_survives_its_header(value: str) -> None:
    encoded = versions.encode_header(value)
    assert encoded.isascii()
    assert not set(encoded) & {0, 10, 13}
    assert versions.decode_header(encoded) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"add", "add"),
        (b" add ", "add"),
        (b"=?base64?YWRk?=", "add"),
        (b"=?base64?YWRk", "=?base64?YWRk"),
        (b"YWRk?=", "YWRk?="),
        (b"=?base64?YWR?=", None),
        (b"=?base64?YWRl=?=", None),
        (b"=?base64?/w==?=", None),
        (b"=?BASE64?YWRk?=", "=?BASE64?YWRk?="),
    ],
)
def test_a_mirrored_value_has_one_reading(value: bytes, text: str | None) -> None:
    assert versions.decode_header(value) == text


def test_headers_are_compared_with_the_body_exactly() -> None:
    message = read({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "_meta": META}})
    headers = {b"mcp-protocol-version": b"2026-07-28", b"mcp-method": b"tools/call", b"mcp-name": b"add"}
    assert versions.check_modern(message, headers) is None
    for name, value in (
        (b"mcp-protocol-version", b"2026-07-29"),
        (b"mcp-method", b"Tools/Call"),
        (b"mcp-name", b"Add"),
        (b"mcp-name", b"a\xcc\x88dd"),
    ):
        defect = versions.check_modern(message, {**headers, name: value})
        assert defect is not None
        assert defect.kind.rpc_code == -32020


# Until a person acts, or (a quota) told by whoever refuses: a time in the table would be a guess.
UNTIL_SOMEBODY_ACTS = {"access.server_not_ready", "upstream.credential_unreadable", "limits.quota"}


def test_a_refusal_that_passes_says_when_to_come_back_and_its_number_is_its_own() -> None:
    for code, kind in KINDS.items():
        if kind.status in {429, 503}:
            assert bool(kind.retry_after_s) is (code not in UNTIL_SOMEBODY_ACTS), code
    own = [kind.rpc_code for kind in KINDS.values() if kind.rpc_code > 0]
    assert len(own) == len(set(own))


def test_every_refusal_has_a_code_words_and_a_status_of_its_kind() -> None:
    for code, kind in KINDS.items():
        assert kind.message, code
        own = not -32768 <= kind.rpc_code <= -32000
        assert not own or kind.rpc_code // 100 == kind.status, code
        assert kind.rpc_code not in range(-32099, -32020), code
