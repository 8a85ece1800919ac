"""Schemas of strangers check values, and take neither time nor anything else."""

from __future__ import annotations

import pytest

from core.schemas import Fault, UncheckedError, faults_of, is_quick


def test_faults_say_where_and_what():
    schema = {
        "type": "object",
        "properties": {"a/b": {"type": "array", "items": {"type": "integer"}}},
        "required": ["c", "d"],
    }

    assert set(faults_of(schema, {"a/b": [1, "x"]})) == {
        Fault("/a~1b/1", "This must be a whole number."),
        Fault("/c", "Fill this in."),
        Fault("/d", "Fill this in."),
    }


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a*)*b", "(.*a){20}(.*b){20}", r"(a|a?)+$", r"(\w+)\1+", "a" * 600, "(", "(?:x+x+)+y"]
)
def test_patterns_that_could_run_for_ever_are_not_run(pattern):
    assert not is_quick(pattern, 1000)
    assert faults_of({"type": "string", "pattern": pattern}, "a" * 1000 + "!") == []


@pytest.mark.parametrize(
    "pattern", ["^[a-z]+$", r"^\d{4}-\d{2}$", "^https://", "^(a|b|c)$", r"^[A-Z]{2,3}[0-9]*$", r"^\d+d\d+([+-]\d+)?$"]
)
def test_ordinary_patterns_are(pattern):
    assert is_quick(pattern, 60)
    assert faults_of({"type": "string", "pattern": pattern}, "!!") != []


def test_a_schema_that_multiplies_itself_is_given_up():
    bomb = {"$defs": {"0": {"type": "string"}}, "$ref": "#/$defs/30"}
    for depth in range(30):
        bomb["$defs"][str(depth + 1)] = {"allOf": [{"$ref": f"#/$defs/{depth}"}, {"$ref": f"#/$defs/{depth}"}]}

    with pytest.raises(UncheckedError, match="too long"):
        faults_of(bomb, "x")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"type": "int"},
        {"minimum": "x"},
        {"properties": []},
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": 3},
    ],
)
def test_what_cannot_be_checked_is_said_and_nothing_is_fetched(schema):
    with pytest.raises(UncheckedError):
        faults_of(schema, {"a": [1]} if "properties" in schema else [1] if "items" in schema else 1)


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("date-time", "2026-01-31T09:00:00Z", "2026-01-31"),
        ("date", "2026-01-31", "2026-13-01"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("email", "a@b.example", "a"),
        ("uri", "https://a.example/x", "no uri"),
        ("ipv4", "127.0.0.1", "300.1.1.1"),
        ("ipv6", "::1", "::x"),
        ("of-our-own", "anything", None),
    ],
)
def test_formats(form, good, bad):
    assert faults_of({"type": "string", "format": form}, good) == []
    assert bad is None or faults_of({"type": "string", "format": form}, bad) == [Fault("", f"This is no valid {form}.")]
