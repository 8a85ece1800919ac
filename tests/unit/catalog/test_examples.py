from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import examples


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["b"]}, {"b": 1}),
        ({"properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}}, {"a": "…", "b": True}),
        ({"properties": {"a": {"enum": ["x", "y"]}}}, {"a": "x"}),
        ({"properties": {"a": {"type": ["null", "number"]}}}, {"a": 1}),
        ({"properties": {"a": {"type": "array", "items": {"type": "string"}}}}, {"a": ["…"]}),
        ({"properties": {"a": {"anyOf": [{"const": 5}]}}}, {"a": 5}),
        ({"properties": {"a": {"default": "z" * 500}}}, {"a": "z" * 120}),
        ({}, {}),
        (None, {}),
        ("text", {}),
        ({"properties": "no", "required": 3}, {}),
    ],
)
def test_an_example_names_what_is_required_else_the_first_few(schema, example):
    assert examples.of_schema(schema) == example


def test_a_schema_that_goes_on_without_end_is_left_at_a_depth():
    deep: dict = {"type": "object"}
    for _ in range(50):
        deep = {"type": "object", "properties": {"a": deep}}
    assert str(examples.of_schema(deep)).count("a") <= examples.DEPTH_MAX + 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "required", "enum", "anyOf", "default", "a"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=60)
@given(JSON)
def test_no_schema_breaks_it(schema):
    assert isinstance(examples.of_schema(schema), dict)
