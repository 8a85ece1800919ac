"""The form for a schema, filled with what was sent or with what a required value defaults to. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from core.schemas import escape
from marketplace.playground import masks
from marketplace.playground.fields import Field, Option, Sent, dumps, last
from marketplace.playground.shapes import DEPTH_MAX, Kind, Shape, inner_shape, shape_of

FIELDS_MAX: Final = 400
ROWS_MAX: Final = 50
_LONG_TEXT: Final = 200
_WORDS_MAX: Final = 600
_LONG_NAMES = re.compile(
    r"body|content|text|message|description|query|sql|code|prompt|html|markdown|note", re.IGNORECASE
)
_INPUTS = {"email": "email", "uri": "url", "url": "url", "date": "date", "time": "time"}
_FORMAT_HINTS = {
    "date-time": "Date and time, such as 2026-01-31T09:00:00Z",
    "uuid": "An id, such as 123e4567-e89b-12d3-a456-426614174000",
    "uri": "An address, such as https://example.org/",
    "byte": "Base64",
    "binary": "Base64",
}


def build(schema: Any, sent: Sent | None = None) -> Field:
    """The form for a schema, filled with what was sent; with what a required value defaults to, where nothing was."""
    builder = Builder(schema, sent or {}, is_fresh=not sent)
    shape = shape_of(schema, schema)
    if shape.kind is not Kind.GROUP:
        shape = Shape(Kind.GROUP, {})
    return builder.field(shape, "", "", required=True, depth=0)


class Builder:
    def __init__(self, root: Any, sent: Sent, *, is_fresh: bool) -> None:
        self._root, self._sent, self._is_fresh = root, sent, is_fresh
        self._count = 0

    def field(self, shape: Shape, pointer: str, label: str, *, required: bool, depth: int, fresh: bool = True) -> Field:
        self._count += 1
        if (self._count > FIELDS_MAX or depth > DEPTH_MAX) and shape.kind is not Kind.GROUP:
            shape = Shape(Kind.JSON, shape.schema, shape.nullable, why="the form would be too long")
        each = Field(shape.kind, pointer, _title(shape.schema, label), shape, required)
        each.description = _text(shape.schema.get("description"))[:_WORDS_MAX]
        each.is_null = shape.nullable and bool(self._first(f"n:{pointer}"))
        each.is_sent_empty = bool(self._first(f"g:{pointer}"))
        each.is_secret = masks.is_secret_name(last(pointer)) or masks.is_secret_schema(shape.schema)
        self._fill(each, depth, fresh=fresh and required)
        each.hint = _hint(each)
        return each

    def _fill(self, each: Field, depth: int, *, fresh: bool) -> None:
        if each.kind in {Kind.CHOICE, Kind.BOOLEAN, Kind.TICKS}:
            self._fill_options(each, fresh=fresh)
        elif each.kind is Kind.GROUP:
            each.children = [
                self._child(
                    schema, f"{each.pointer}/{escape(name)}", name, name in each.shape.required, depth, fresh=fresh
                )
                for name, schema in each.shape.properties.items()
            ]
        elif each.kind is Kind.ROWS:
            self._fill_rows(each, depth)
        elif each.kind is Kind.MAP:
            self._fill_map(each, depth)
        elif each.kind is Kind.VARIANT:
            self._fill_variant(each, depth, fresh=fresh)
        elif each.kind is not Kind.NULL:
            self._fill_text(each, fresh=fresh)

    def _child(
        self, schema: Any, pointer: str, label: str, required: bool, depth: int, *, fresh: bool = False
    ) -> Field:
        shape = inner_shape(schema, self._root, depth + 1)
        return self.field(shape, pointer, label, required=required, depth=depth + 1, fresh=fresh)

    def _fill_options(self, each: Field, *, fresh: bool) -> None:
        values = [True, False] if each.kind is Kind.BOOLEAN else each.shape.options
        chosen = set(self._sent.get(each.name, ()))
        if each.required and each.kind is Kind.CHOICE and len(values) == 1:
            chosen = {dumps(values[0])}  # there is nothing to choose
        elif self._is_fresh and fresh and "default" in each.shape.schema:
            given = each.shape.schema["default"]
            chosen = {dumps(v) for v in (given if each.kind is Kind.TICKS and isinstance(given, list) else [given])}
        labels = {True: "Yes", False: "No"} if each.kind is Kind.BOOLEAN else {}
        each.options = [
            Option(
                dumps(value),
                labels.get(value, "") if each.kind is Kind.BOOLEAN else _option_label(value),
                dumps(value) in chosen,
            )
            for value in values
        ]

    def _fill_rows(self, each: Field, depth: int) -> None:
        each.count = self._rows(each)
        each.children = [
            self._child(each.shape.item, f"{each.pointer}/{index}", str(index + 1), True, depth)
            for index in range(each.count)
        ]

    def _fill_map(self, each: Field, depth: int) -> None:
        each.count = self._rows(each)
        for index in range(each.count):
            pointer = f"{each.pointer}/{index}"
            each.keys.append((f"k:{pointer}", self._first(f"k:{pointer}")))
            each.children.append(self._child(each.shape.item, pointer, "Value", True, depth))

    def _rows(self, each: Field) -> int:
        asked = self._first(f"c:{each.pointer}")
        least = each.shape.schema.get("minItems", 0)
        least = least if isinstance(least, int) and each.required else 0
        count = int(asked) if asked.isdecimal() and len(asked) < 4 else max(least, 1 if each.required else 0)
        more = 1 if self._first("more") == each.pointer else 0
        return min(count + more, ROWS_MAX)

    def _fill_variant(self, each: Field, depth: int, *, fresh: bool) -> None:
        asked = self._first(f"v:{each.pointer}")
        count = len(each.shape.variants)
        chosen = int(asked) if asked.isdecimal() and len(asked) < 4 and int(asked) < count else -1
        if chosen < 0 and each.required:
            chosen = 0
        each.options = [
            Option(str(index), _variant_label(schema, self._root, index), index == chosen)
            for index, schema in enumerate(each.shape.variants)
        ]
        if chosen >= 0:
            each.children = [
                self._child(each.shape.variants[chosen], each.pointer, each.label, True, depth, fresh=fresh)
            ]

    def _fill_text(self, each: Field, *, fresh: bool) -> None:
        schema = each.shape.schema
        each.value = self._first(each.name).replace("\r\n", "\n")
        if self._is_fresh and fresh and "default" in schema:
            each.value = _default_text(each, schema["default"])
        longest = schema.get("maxLength")
        each.is_long = (
            each.kind in {Kind.LINES, Kind.JSON}
            or "\n" in each.value
            or (isinstance(longest, int) and longest > _LONG_TEXT)
            or (
                each.kind is Kind.TEXT
                and not each.is_secret
                and "format" not in schema
                and bool(_LONG_NAMES.search(last(each.pointer)))
            )
        )
        if each.kind is Kind.LINES:
            each.lines_of = shape_of(each.shape.item, self._root).kind
        elif each.kind is Kind.TEXT:
            each.input_type = "password" if each.is_secret else _INPUTS.get(str(schema.get("format")), "text")
        each.attributes = _attributes(each)

    def _first(self, name: str) -> str:
        values = self._sent.get(name)
        return values[0] if values else ""


def _default_text(each: Field, value: Any) -> str:
    """What stands in a field for its default; nothing where the default is of another kind."""
    if each.kind is Kind.LINES:
        entries = value if isinstance(value, list) else []
        return "\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)
    if each.kind is Kind.TEXT:
        return value if isinstance(value, str) else ""
    if each.kind is Kind.JSON:
        return json.dumps(value, ensure_ascii=False, indent=2)
    return json.dumps(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _title(schema: Mapping[str, Any], label: str) -> str:
    return label or _text(schema.get("title"))[:80]


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _option_label(value: Any) -> str:
    return value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False)[:120]


_KIND_WORDS = {
    Kind.TEXT: "Text",
    Kind.NUMBER: "Number",
    Kind.INTEGER: "Whole number",
    Kind.BOOLEAN: "Yes or no",
    Kind.CHOICE: "One of some values",
    Kind.LINES: "List",
    Kind.TICKS: "List of some values",
    Kind.ROWS: "List",
    Kind.GROUP: "Object",
    Kind.MAP: "Object with free names",
    Kind.VARIANT: "One of several",
    Kind.NULL: "Null",
    Kind.JSON: "JSON",
}


def _variant_label(schema: Any, root: Any, index: int) -> str:
    shape = shape_of(schema, root)
    title = _text(shape.schema.get("title"))[:60] or _text(shape.schema.get("description"))[:60]
    return f"{index + 1}: {title or _KIND_WORDS[shape.kind]}"


def _attributes(each: Field) -> dict[str, str]:
    """What a browser may check by itself. No pattern: browsers read patterns in another dialect."""
    schema, found = each.shape.schema, {}
    if each.kind is Kind.TEXT:
        for ours, theirs in (("minlength", "minLength"), ("maxlength", "maxLength")):
            if type(schema.get(theirs)) is int and schema[theirs] >= 0:
                found[ours] = str(schema[theirs])
    return found


def _hint(each: Field) -> str:
    schema = each.shape.schema
    parts = []
    if each.kind is Kind.LINES:
        parts.append("One on each line")
    if each.kind is Kind.JSON:
        parts.append(f"Written as JSON: {each.shape.why}" if each.shape.why else "Written as JSON")
    if each.kind is Kind.TEXT and (words := _FORMAT_HINTS.get(str(schema.get("format")))):
        parts.append(words)
    parts += [
        f"{words} {schema[name]}"
        for name, words in (
            ("minimum", "At least"),
            ("maximum", "At most"),
            ("pattern", "Pattern"),
            ("maxItems", "At most"),
        )
        if isinstance(schema.get(name), str | int | float) and len(str(schema[name])) < 120
    ]
    if "default" in schema and not each.required and schema["default"] is not None:
        parts.append(f"Without it: {json.dumps(schema['default'], ensure_ascii=False)[:80]}")
    return ". ".join(parts)
