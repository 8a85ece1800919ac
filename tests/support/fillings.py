"""Forms of the playground as people fill them: drawn by Hypothesis from what the form offers, not from the schema."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from marketplace.playground import building, fields
from marketplace.playground.shapes import Kind

_LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1, max_size=8)
_ROUNDS = 4


@st.composite
def fillings(draw, schema: Any) -> dict[str, list[str]]:
    """What a browser sends after a person has added rows, chosen variants and filled in fields, some of them wrongly."""
    sent: dict[str, list[str]] = {"form": ["1"]}
    for _ in range(_ROUNDS):
        form = building.build(schema, sent)
        for each in form.walk():
            if each.kind in {Kind.ROWS, Kind.MAP} and f"c:{each.pointer}" not in sent:
                sent[f"c:{each.pointer}"] = [str(draw(st.integers(0, 2)))]
            if each.kind is Kind.VARIANT and f"v:{each.pointer}" not in sent:
                sent[f"v:{each.pointer}"] = [draw(st.sampled_from([option.value for option in each.options]))]
    for each in building.build(schema, sent).walk():
        _fill(draw, each, sent)
    return sent


def _fill(draw, each: fields.Field, sent: dict[str, list[str]]) -> None:
    if each.nullable and draw(st.integers(0, 5)) == 0:
        sent[f"n:{each.pointer}"] = ["1"]
    for name, _ in each.keys:
        sent[name] = [draw(_LETTERS)]
    if each.kind in {Kind.GROUP, Kind.ROWS, Kind.MAP, Kind.VARIANT, Kind.NULL} or (
        not each.required and draw(st.booleans())
    ):
        return
    sent[each.name] = _value(draw, each)


def _value(draw, each: fields.Field) -> list[str]:
    if each.options:
        return [draw(st.sampled_from([option.value for option in each.options]))]
    if each.kind is Kind.INTEGER:
        return [str(draw(st.integers(-3, 1200)))]
    if each.kind is Kind.NUMBER:
        return [json.dumps(draw(st.integers(-3, 1200) | st.floats(allow_nan=False, allow_infinity=False)))]
    if each.kind is Kind.JSON:
        return [
            json.dumps(draw(st.recursive(st.none() | st.booleans() | st.integers() | _LETTERS, st.lists, max_leaves=3)))
        ]
    if each.kind is Kind.LINES:
        lines = st.lists(st.integers(0, 9).map(str) if each.lines_of is not Kind.TEXT else _LETTERS, max_size=3)
        return ["\r\n".join(draw(lines))]
    likely = {
        "email": "a@b.example",
        "uri": "https://a.example/",
        "date": "2026-01-31",
        "date-time": "2026-01-31T09:00:00Z",
    }
    known = str(each.shape.schema.get("format"))
    return [likely.get(known) or draw(_LETTERS)]
