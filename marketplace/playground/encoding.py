"""The way back: what a form would send to mean given arguments. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from core.schemas import escape
from marketplace.playground.building import ROWS_MAX, Builder, build
from marketplace.playground.fields import dumps
from marketplace.playground.forms import READERS, read_group
from marketplace.playground.shapes import DEPTH_MAX, Kind, Shape, inner_shape, shape_of


class NotShownError(Exception):
    """Arguments that the form cannot show as they are; they stay in the field for JSON."""


def encode(schema: Any, arguments: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a form would send to mean these arguments. Raises NotShownError when it cannot mean exactly them."""
    sent: dict[str, list[str]] = {"form": ["1"]}
    shape = shape_of(schema, schema)
    if shape.kind is not Kind.GROUP and arguments:
        raise NotShownError("the schema names no members")
    if shape.kind is Kind.GROUP:
        _encode(shape, dict(arguments), "", schema, sent, 0)
    form = build(schema, sent)
    value = read_group(form)
    if any(each.error for each in form.walk()) or not same(value, arguments):
        raise NotShownError("the form cannot hold these arguments")
    return sent


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same text: true is not 1, and 1.0 is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _encode(shape: Shape, value: Any, pointer: str, root: Any, sent: dict[str, list[str]], depth: int) -> None:
    if depth > DEPTH_MAX + 2:
        raise NotShownError("too deep")
    name = f"f:{pointer}"
    if value is None and shape.nullable:
        sent[f"n:{pointer}"] = ["1"]
    elif shape.kind is Kind.JSON:
        sent[name] = [json.dumps(value, ensure_ascii=False, indent=2)]
    elif shape.kind in {Kind.CHOICE, Kind.BOOLEAN}:
        sent[name] = [dumps(value)]
    elif shape.kind in {Kind.TEXT, Kind.NUMBER, Kind.INTEGER}:
        sent[name] = [value if isinstance(value, str) else json.dumps(value)]
    elif shape.kind in {Kind.LINES, Kind.TICKS, Kind.ROWS}:
        _encode_list(shape, value, pointer, root, sent, depth)
    elif shape.kind is Kind.GROUP:
        _encode_group(shape, value, pointer, root, sent, depth)
    elif shape.kind is Kind.MAP:
        _encode_map(shape, value, pointer, root, sent, depth)
    elif shape.kind is Kind.VARIANT:
        _encode_variant(shape, value, pointer, root, sent, depth)


def _encode_list(shape: Shape, value: Any, pointer: str, root: Any, sent: dict[str, list[str]], depth: int) -> None:
    if not isinstance(value, list):
        raise NotShownError("no list")
    if not value:
        sent[f"g:{pointer}"] = ["1"]
    if shape.kind is Kind.LINES:
        sent[f"f:{pointer}"] = ["\n".join(each if isinstance(each, str) else json.dumps(each) for each in value)]
    elif shape.kind is Kind.TICKS:
        sent[f"f:{pointer}"] = [dumps(each) for each in value]
    else:
        sent[f"c:{pointer}"] = [str(len(value))]
        inner = inner_shape(shape.item, root, depth + 1)
        for index, each in enumerate(value[: ROWS_MAX + 1]):
            _encode(inner, each, f"{pointer}/{index}", root, sent, depth + 1)


def _encode_group(shape: Shape, value: Any, pointer: str, root: Any, sent: dict[str, list[str]], depth: int) -> None:
    if not isinstance(value, dict):
        raise NotShownError("no object")
    if not value:
        sent[f"g:{pointer}"] = ["1"]
    for key, each in value.items():
        if key not in shape.properties:
            raise NotShownError("a member that the schema does not name")
        inner = inner_shape(shape.properties[key], root, depth + 1)
        _encode(inner, each, f"{pointer}/{escape(key)}", root, sent, depth + 1)


def _encode_map(shape: Shape, value: Any, pointer: str, root: Any, sent: dict[str, list[str]], depth: int) -> None:
    if not isinstance(value, dict):
        raise NotShownError("no object")
    if not value:
        sent[f"g:{pointer}"] = ["1"]
    sent[f"c:{pointer}"] = [str(len(value))]
    inner = inner_shape(shape.item, root, depth + 1)
    for index, (key, each) in enumerate(value.items()):
        sent[f"k:{pointer}/{index}"] = [key]
        _encode(inner, each, f"{pointer}/{index}", root, sent, depth + 1)


def _encode_variant(shape: Shape, value: Any, pointer: str, root: Any, sent: dict[str, list[str]], depth: int) -> None:
    for index, schema in enumerate(shape.variants):
        found: dict[str, list[str]] = {f"v:{pointer}": [str(index)]}
        inner = inner_shape(schema, root, depth + 1)
        try:
            _encode(inner, value, pointer, root, found, depth + 1)
            builder = Builder(root, found, is_fresh=False)
            each = builder.field(inner, pointer, "", required=True, depth=depth + 1)
            fits = same(READERS[each.kind](each) if not each.is_null else None, value)
        except NotShownError:
            continue
        except TypeError:  # a value that is MISSING is no JSON
            continue
        if fits:
            sent.update(found)
            return
    raise NotShownError("fits none of the variants")
