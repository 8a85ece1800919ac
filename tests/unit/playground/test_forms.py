"""Forms from schemas: what a person enters becomes arguments that fit the schema, for schemas as strangers write them."""

from __future__ import annotations

import copy
import json
from collections import Counter

import jsonschema
import pytest
import referencing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.playground import building, encoding, forms
from marketplace.playground.shapes import Kind
from tests.support.fillings import fillings
from tests.support.shared import tools_of_shared_data

EVERYTHING = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "mail": {"type": "string", "format": "email", "maxLength": 40},
        "level": {"enum": ["low", "high", 3, None, True, 1]},
        "fixed": {"const": "v1"},
        "count": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 10},
        "share": {"type": "number", "exclusiveMinimum": 0},
        "urgent": {"type": "boolean", "default": False},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "sizes": {"type": "array", "items": {"type": "integer"}},
        "days": {"type": "array", "items": {"enum": ["mon", "tue"]}, "uniqueItems": True},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "who": {
            "oneOf": [{"type": "string"}, {"$ref": "#/$defs/person"}, {"type": "array", "items": {"type": "number"}}]
        },
        "tree": {"$ref": "#/$defs/tree"},
        "either": {"type": ["string", "number", "null"]},
        "open": {},
        "odd/na~me": {"type": "string"},
    },
    "required": ["id", "tags", "count", "urgent", "fixed"],
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
            "required": ["sku"],
        },
        "person": {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}},
        "tree": {
            "type": "object",
            "properties": {
                "value": {"type": "string"},
                "left": {"$ref": "#/$defs/tree"},
                "right": {"$ref": "#/$defs/tree"},
            },
        },
    },
}
ID = "123e4567-e89b-12d3-a456-426614174000"
LEAST = {"f:/id": [ID], "f:/tags": ["a"], "f:/count": ["1"], "f:/urgent": ["true"]}


def plain_check(schema, arguments) -> None:
    """The library as it comes, as an independent opinion; but for patterns, of which only the quick ones are run."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    errors = kind(schema, registry=referencing.Registry()).iter_errors(arguments)
    assert [error.message for error in errors if error.validator != "pattern"] == []


class TestReading:
    def test_the_least_that_is_required_is_enough(self):
        reading = forms.read(EVERYTHING, LEAST)

        assert reading.arguments == {"id": ID, "tags": ["a"], "count": 1, "urgent": True, "fixed": "v1"}

    def test_every_kind_of_value_arrives_with_its_type(self):
        sent = LEAST | {
            "f:/level": ["3"],
            "f:/share": ["0.5"],
            "n:/note": ["1"],
            "f:/sizes": ["1\r\n2\r\n\r\n3"],
            "f:/days": ['"mon"', '"tue"'],
            "c:/lines": ["2"],
            "f:/lines/0/sku": ["x"],
            "f:/lines/0/n": ["2"],
            "c:/labels": ["1"],
            "k:/labels/0": ["colour"],
            "f:/labels/0": ["red"],
            "v:/who": ["1"],
            "f:/who/name": ["Ada"],
            "v:/either": ["1"],
            "f:/either": ["4"],
            "f:/open": ['{"a": [1]}'],
            "f:/odd~1na~0me": ["here"],
            "f:/tree/left/value": ["leaf"],
        }
        reading = forms.read(EVERYTHING, sent)

        assert reading.arguments == {
            "id": ID, "tags": ["a"], "count": 1, "urgent": True, "fixed": "v1", "level": 3, "share": 0.5, "note": None,
            "sizes": [1, 2, 3], "days": ["mon", "tue"], "lines": [{"sku": "x", "n": 2}], "labels": {"colour": "red"},
            "who": {"name": "Ada"}, "either": 4, "open": {"a": [1]}, "odd/na~me": "here",
            "tree": {"left": {"value": "leaf"}},
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("sent", "pointer", "words"),
        [
            ({"f:/id": [""]}, "/id", "Fill this in"),
            ({"f:/id": ["no"]}, "/id", "no valid uuid"),
            ({"f:/count": ["many"]}, "/count", "whole number"),
            ({"f:/count": ["1001"]}, "/count", "The most is 1000"),
            ({"f:/share": ["0"]}, "/share", "more than 0"),
            ({"f:/urgent": [""]}, "/urgent", "Choose one"),
            ({"f:/tags": [""]}, "/tags", "at least 1"),
            ({"f:/sizes": ["x"]}, "/sizes", "no number"),
            ({"f:/open": ["{"]}, "/open", "no valid JSON"),
            ({"f:/open": ["NaN"]}, "/open", "no valid JSON"),
            ({"c:/lines": ["1"], "f:/lines/0/n": ["1"]}, "/lines/0/sku", "Fill this in"),
            ({"c:/labels": ["2"], "k:/labels/0": ["a"], "f:/labels/0": ["x"], "k:/labels/1": ["a"], "f:/labels/1": ["y"]},
             "/labels", "twice"),
            ({"c:/labels": ["1"], "k:/labels/0": [""], "f:/labels/0": ["x"]}, "/labels", "needs a name"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_at_the_field(self, sent, pointer, words):
        reading = forms.read(EVERYTHING, LEAST | sent)

        assert reading.arguments is None
        [error] = [each.error for each in reading.form.walk() if each.pointer == pointer and each.error]
        assert words in error

    def test_what_was_entered_stays_when_something_is_wrong(self):
        form = forms.read(EVERYTHING, LEAST | {"f:/mail": ["nobody"], "f:/count": ["x"]}).form

        assert {each.pointer: each.value for each in form.walk()}["/mail"] == "nobody"

    def test_adding_a_row_keeps_the_others(self):
        sent = LEAST | {"c:/lines": ["1"], "f:/lines/0/sku": ["x"], "more": ["/lines"]}
        [rows] = [each for each in building.build(EVERYTHING, sent).walk() if each.pointer == "/lines"]

        assert [child.children[0].value for child in rows.children] == ["x", ""]

    def test_a_default_stands_in_the_field_only_where_a_value_is_required(self):
        fields = {each.pointer: each for each in building.build(EVERYTHING).walk()}

        assert fields["/count"].value == "10"
        assert [option.label for option in fields["/urgent"].options if option.chosen] == ["No"]
        optional = building.build({"type": "object", "properties": {"n": {"type": "integer", "default": 5}}})
        assert (optional.children[0].value, optional.children[0].hint) == ("", "Without it: 5")

    def test_large_numbers_stay_exact(self):
        number = "123456789012345678901234567890"
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}

        assert forms.read(schema, {"f:/n": [number]}).arguments == {"n": int(number)}


class TestJson:
    def test_arguments_as_json_are_checked_too(self):
        arguments, errors = forms.read_json(EVERYTHING, json.dumps({"id": ID, "tags": [], "extra": 1}))

        assert arguments is None
        assert any("/tags: Give at least 1" in error for error in errors)
        assert any("/urgent: Fill this in" in error for error in errors)

    @pytest.mark.parametrize("text", ["[]", "1", "{", '{"a": Infinity}', "[" * 5000, '"\\ud800"'])
    def test_what_is_no_object_is_refused_with_words(self, text):
        arguments, errors = forms.read_json({}, text)

        assert arguments is None
        assert errors


class TestHostileSchemas:
    @pytest.mark.parametrize(
        "schema",
        [
            None, [], "object", True, {"type": "any"}, {"properties": []}, {"properties": {"a": "b"}},
            {"$ref": "#"}, {"$ref": "http://example.com/schema"}, {"type": {"a": 1}},
            {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
            {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}},
            {"type": "object", "properties": {"a": {"enum": [[], {}, None, 1, True, 1.0]}}},
            {"type": "object", "properties": {"a": {"type": "array", "items": [{"type": "string"}]}}},
            {"type": "object", "properties": {"a": {"minimum": "x", "maxLength": [], "type": "string"}}},
            {"type": "object", "properties": {str(n): {"type": "string"} for n in range(5000)}},
            {"type": "object", "properties": {"": {"type": "string"}}, "required": [{}, 3]},
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
            {"type": "object", "properties": {"a": {"type": "string", "minLength": True}}},
        ],
    )  # fmt: skip
    def test_an_odd_schema_gives_a_form_and_a_reading(self, schema):
        form = building.build(schema)
        sent = {each.name: ["1"] for each in form.walk()}

        assert sum(1 for _ in form.walk()) < 1500
        forms.read(schema, sent)
        forms.read_json(schema, "{}")

    def test_schemas_are_not_changed(self):
        before = copy.deepcopy(EVERYTHING)
        forms.read(EVERYTHING, LEAST)

        assert before == EVERYTHING


class TestThereAndBack:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(sent=fillings(EVERYTHING))
    def test_what_a_form_says_fits_the_schema_and_fills_the_form_again(self, sent):
        reading = forms.read(EVERYTHING, sent)
        if reading.arguments is None:
            assert reading.errors
            return
        plain_check(EVERYTHING, reading.arguments)
        try:
            again = encoding.encode(EVERYTHING, reading.arguments)
        except encoding.NotShownError:
            return
        assert encoding.same(forms.read(EVERYTHING, again).arguments, reading.arguments)

    def test_arguments_that_the_form_cannot_mean_are_left_to_json(self):
        schema = {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "string"}}},
        }
        for arguments in ({"a": ""}, {"c": 1}, {"a": 1}, {"b": ["x\ny"]}, {"b": [" "]}, {"a": None}):
            with pytest.raises(encoding.NotShownError):
                encoding.encode(schema, arguments)

    def test_an_empty_list_can_be_meant(self):
        schema = {"type": "object", "properties": {"b": {"type": "array", "items": {"type": "string"}}}}

        assert forms.read(schema, encoding.encode(schema, {"b": []})).arguments == {"b": []}


class TestRealSchemas:
    """Every tool of the shared data: 11,911 schemas by 1,434 authors."""

    def test_every_tool_gets_a_form_and_nearly_every_field_is_a_real_one(self):
        counts: Counter[str] = Counter()
        for schema in tools_of_shared_data():
            form = building.build(schema)
            fields = [each for each in form.walk() if each is not form]
            raw = sum(1 for each in fields if each.kind is Kind.JSON)
            counts.update(tools=1, full=not raw, fields=len(fields), raw=raw)
        print(
            f"\n{counts['tools']} tools: {counts['full']} as a full form; {counts['raw']} of {counts['fields']} fields as JSON"
        )

        assert counts["full"] > 0.94 * counts["tools"]
        assert counts["raw"] < 0.03 * counts["fields"]

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_what_their_forms_say_fits_their_schemas(self, data):
        schema = data.draw(st.sampled_from(tools_of_shared_data()))
        reading = forms.read(schema, data.draw(fillings(schema)))
        if reading.arguments is not None and not reading.unchecked:
            plain_check(schema, reading.arguments)
