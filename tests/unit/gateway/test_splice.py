"""Cutting JSON texts: what is not named stays as it was, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mcp import splice

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), _VALUES), st.sampled_from([None, 0, 2]))
def test_each_member_stands_where_it_is_said_to_stand(value: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    found = splice.members(text)
    assert {key: part.value for key, part in found.items()} == value
    assert all(json.loads(text[part.start : part.end]) == part.value for part in found.values())


@given(st.lists(_VALUES), st.sampled_from([None, 1]))
def test_each_item_stands_where_it_is_said_to_stand(values: list[Any], indent: int | None) -> None:
    text = " \n" + json.dumps(values, indent=indent)
    parts = splice.items(text, 0)
    assert [part.value for part in parts] == values
    assert [json.loads(text[part.start : part.end]) for part in parts] == values


def test_a_part_is_replaced_and_the_rest_is_untouched() -> None:
    text = '{ "a" : 1.50e1,\n"b":["\\u0061" , 2 ],"c":0}'
    found = splice.members(text)
    changes = [(found["c"].start, found["c"].end, "9"), (found["b"].start, found["b"].end, "[]")]
    assert splice.replace(text, changes) == '{ "a" : 1.50e1,\n"b":[],"c":9}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"a":1',
        '{"a" 1}',
        '{"a":1 "b":2}',
        '{"a":1,"a":2}',
        "{1:2}",
        '{"a":}',
        '{"a":1,}',
        '{"a":' + "[" * 99_999,
    ],
)
def test_what_cannot_be_read_in_one_way_is_an_error(text: str) -> None:
    with pytest.raises(splice.UnreadableError):
        splice.members(text)


@pytest.mark.parametrize("text", ["{}", "[1", "[1 2]", "[,]"])
def test_an_array_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(splice.UnreadableError):
        splice.items(text, 0)
