"""A form for a tool's arguments: made from the schema, filled from what was sent or from arguments, and read back. Pure.

Names of inputs are JSON pointers behind a letter: `f:` a value, `n:` send null, `g:` send an empty group or list, `c:` how many
rows, `v:` which variant, `k:` the name of a map's entry. What is left empty is not sent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core.schemas import UncheckedError, escape, faults_of
from marketplace.playground import masks
from marketplace.playground.shapes import DEPTH_MAX, Kind, Shape, inner_shape, shape_of

FIELDS_MAX: Final = 400
ROWS_MAX: Final = 50
_LONG_TEXT: Final = 200
_WORDS_MAX: Final = 600
_INTEGER = re.compile(r"-?[0-9]{1,400}\Z")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?\Z")
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
_COMPOSITE = frozenset({Kind.GROUP, Kind.MAP, Kind.LINES, Kind.TICKS, Kind.ROWS})

Sent = Mapping[str, Sequence[str]]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class NotShownError(Exception):
    """Arguments that the form cannot show as they are; they stay in the field for JSON."""


@dataclass(frozen=True, slots=True)
class Option:
    value: str  # JSON
    label: str
    chosen: bool = False


@dataclass(slots=True)
class Field:
    """One input, or a group of them, as a template shows it."""

    kind: Kind
    pointer: str
    label: str
    shape: Shape
    required: bool = False
    value: str = ""
    options: list[Option] = field(default_factory=list)
    children: list[Field] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)  # of a map: input name and name of each entry
    is_null: bool = False
    is_sent_empty: bool = False
    error: str = ""
    hint: str = ""
    description: str = ""
    input_type: str = "text"
    lines_of: Kind = Kind.TEXT
    is_long: bool = False
    is_secret: bool = False
    count: int = 0
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"f:{self.pointer}"

    @property
    def html_id(self) -> str:
        return "f" + re.sub(r"[^A-Za-z0-9]", lambda found: f"-{ord(found[0]):x}-", self.pointer)

    @property
    def nullable(self) -> bool:
        return self.shape.nullable

    @property
    def is_composite(self) -> bool:
        return self.kind in _COMPOSITE

    @property
    def can_be_empty(self) -> bool:
        """Whether an empty group or list can be meant, beside leaving it out."""
        return self.is_composite and not self.required

    @property
    def rows(self) -> list[tuple[str, str, Field]]:
        """The entries of a map: input name and text of the name, and the value's field."""
        return [(name, text, child) for (name, text), child in zip(self.keys, self.children, strict=True)]

    @property
    def is_blank(self) -> bool:
        """Whether nothing was entered here."""
        if self.is_null or self.is_sent_empty:
            return False
        if self.kind in {Kind.CHOICE, Kind.BOOLEAN, Kind.TICKS}:
            return not any(option.chosen for option in self.options) or self.is_constant
        if self.kind is Kind.MAP:
            return all(not text and child.is_blank for _, text, child in self.rows)
        if self.kind in {Kind.GROUP, Kind.ROWS, Kind.VARIANT}:
            return all(child.is_blank for child in self.children)
        return self.kind is Kind.NULL or not self.value.strip()

    @property
    def is_constant(self) -> bool:
        return self.kind is Kind.CHOICE and self.required and len(self.options) == 1

    def walk(self) -> Iterator[Field]:
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a form says. `arguments` is None when something is wrong; `unchecked` says why nothing could be checked."""

    form: Field
    arguments: dict[str, Any] | None
    errors: int = 0
    unchecked: str = ""


# ---------------------------------------------------------------------------------------------------------------- reading


def read(schema: Any, sent: Sent) -> Reading:
    """The arguments that a sent form means, held against the schema."""
    form = build(schema, sent)
    value = _read_group(form)
    own = sum(1 for each in form.walk() if each.error)
    if own or not isinstance(value, dict):
        return Reading(form, None, own or 1)
    try:
        faults = faults_of(schema, value)
    except UncheckedError as exc:
        return Reading(form, value, unchecked=str(exc))
    places = {each.pointer: each for each in form.walk()}
    for fault in faults:
        _nearest(places, fault.pointer).error = fault.message
    return Reading(form, None if faults else value, len(faults))


def read_json(schema: Any, text: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Arguments that were written as JSON, and what is wrong with them."""
    try:
        value = parse_json(text or "{}")
    except ValueError as exc:
        return None, [f"This is no valid JSON: {exc}."]
    if not isinstance(value, dict):
        return None, ["Arguments are one JSON object, such as {}."]
    try:
        faults = faults_of(schema, value)
    except UncheckedError:
        return value, []
    return (None if faults else value), [f"{fault.pointer or 'The whole'}: {fault.message}" for fault in faults]


def parse_json(text: str) -> Any:
    """Raises ValueError, also for what only JavaScript or Python would call JSON, and for what cannot be sent."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it holds half of a character") from None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not allowed")


def _nearest(places: Mapping[str, Field], pointer: str) -> Field:
    while pointer and pointer not in places:
        pointer = pointer.rpartition("/")[0]
    return places[pointer]


def _read(each: Field) -> Any:
    """The value of a field, or MISSING; what is wrong is noted at the field."""
    if each.is_null:
        return None
    if each.is_blank and not each.required:
        return MISSING
    return _READERS[each.kind](each)


def _wrong(each: Field, message: str) -> Any:
    each.error = message
    return MISSING


def _read_text(each: Field) -> Any:
    if not each.value:
        return _wrong(each, "Fill this in. To send an empty text, write the arguments as JSON.")
    return each.value


def _read_integer(each: Field) -> Any:
    text = each.value.strip()
    return int(text) if _INTEGER.match(text) else _wrong(each, "Enter a whole number, such as 42.")


def _read_number(each: Field) -> Any:
    number = _number(each.value.strip())
    return _wrong(each, "Enter a number, such as 4.2.") if number is None else number


def _number(text: str) -> int | float | None:
    if _INTEGER.match(text):
        return int(text)
    found = float(text) if _NUMBER.match(text) else math.inf
    return found if math.isfinite(found) else None


def _read_choice(each: Field) -> Any:
    chosen = [option for option in each.options if option.chosen]
    return json.loads(chosen[0].value) if chosen else _wrong(each, "Choose one.")


def _read_null(each: Field) -> Any:
    return None


def _read_lines(each: Field) -> Any:
    convert = _LINE_READERS[each.lines_of]
    values = []
    for line in each.value.split("\n"):
        if line.strip():
            value = convert(line)
            if value is None:
                return _wrong(each, f"“{line.strip()[:40]}” is no number. Write one on each line.")
            values.append(value)
    return values


def _integer(text: str) -> int | None:
    return int(text.strip()) if _INTEGER.match(text.strip()) else None


_LINE_READERS: dict[Kind, Callable[[str], Any]] = {
    Kind.TEXT: lambda line: line,
    Kind.INTEGER: _integer,
    Kind.NUMBER: lambda line: _number(line.strip()),
}


def _read_ticks(each: Field) -> Any:
    return [json.loads(option.value) for option in each.options if option.chosen]


def _read_rows(each: Field) -> Any:
    values = [_read(child) for child in each.children if not child.is_blank]
    return [value for value in values if value is not MISSING]


def _read_group(each: Field) -> Any:
    found = {}
    for child in each.children:
        value = _read(child)
        if value is not MISSING:
            found[_last(child.pointer)] = value
    return found


def _read_map(each: Field) -> Any:
    found: dict[str, Any] = {}
    for _, text, child in each.rows:
        if not text and child.is_blank:
            continue
        if text in found:
            return _wrong(each, f"The name “{text[:40]}” stands here twice.")
        if not text:
            return _wrong(each, "Each value needs a name.")
        value = _READERS[child.kind](child) if not child.is_null else None
        if value is not MISSING:
            found[text] = value
    return found


def _read_variant(each: Field) -> Any:
    if not each.children:
        return _wrong(each, "Choose one.")
    return _READERS[each.children[0].kind](each.children[0])


def _read_json(each: Field) -> Any:
    try:
        return parse_json(each.value)
    except ValueError as exc:
        return _wrong(each, f"This is no valid JSON: {exc}." if each.value.strip() else "Fill this in.")


_READERS: dict[Kind, Callable[[Field], Any]] = {
    Kind.TEXT: _read_text,
    Kind.INTEGER: _read_integer,
    Kind.NUMBER: _read_number,
    Kind.BOOLEAN: _read_choice,
    Kind.CHOICE: _read_choice,
    Kind.NULL: _read_null,
    Kind.LINES: _read_lines,
    Kind.TICKS: _read_ticks,
    Kind.ROWS: _read_rows,
    Kind.GROUP: _read_group,
    Kind.MAP: _read_map,
    Kind.VARIANT: _read_variant,
    Kind.JSON: _read_json,
}


def _last(pointer: str) -> str:
    return pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


# --------------------------------------------------------------------------------------------------------------- building


def build(schema: Any, sent: Sent | None = None) -> Field:
    """The form for a schema, filled with what was sent; with what a required value defaults to, where nothing was."""
    builder = _Builder(schema, sent or {}, is_fresh=not sent)
    shape = shape_of(schema, schema)
    if shape.kind is not Kind.GROUP:
        shape = Shape(Kind.GROUP, {})
    return builder.field(shape, "", "", required=True, depth=0)


class _Builder:
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
        each.is_secret = masks.is_secret_name(_last(pointer)) or masks.is_secret_schema(shape.schema)
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
            chosen = {_dumps(values[0])}  # there is nothing to choose
        elif self._is_fresh and fresh and "default" in each.shape.schema:
            given = each.shape.schema["default"]
            chosen = {_dumps(v) for v in (given if each.kind is Kind.TICKS and isinstance(given, list) else [given])}
        labels = {True: "Yes", False: "No"} if each.kind is Kind.BOOLEAN else {}
        each.options = [
            Option(
                _dumps(value),
                labels.get(value, "") if each.kind is Kind.BOOLEAN else _option_label(value),
                _dumps(value) in chosen,
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
            each.value = self._default(each, schema["default"])
        longest = schema.get("maxLength")
        each.is_long = (
            each.kind in {Kind.LINES, Kind.JSON}
            or "\n" in each.value
            or (isinstance(longest, int) and longest > _LONG_TEXT)
            or (
                each.kind is Kind.TEXT
                and not each.is_secret
                and "format" not in schema
                and bool(_LONG_NAMES.search(_last(each.pointer)))
            )
        )
        if each.kind is Kind.LINES:
            each.lines_of = shape_of(each.shape.item, self._root).kind
        elif each.kind is Kind.TEXT:
            each.input_type = "password" if each.is_secret else _INPUTS.get(str(schema.get("format")), "text")
        each.attributes = _attributes(each)

    def _default(self, each: Field, value: Any) -> str:
        found: dict[str, list[str]] = {}
        try:
            _encode(each.shape, value, each.pointer, self._root, found, 0)
        except NotShownError:
            return ""
        return found.get(each.name, [""])[0]

    def _first(self, name: str) -> str:
        values = self._sent.get(name)
        return values[0] if values else ""


def _title(schema: Mapping[str, Any], label: str) -> str:
    return label or _text(schema.get("title"))[:80]


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


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


# --------------------------------------------------------------------------------------------------------------- encoding


def encode(schema: Any, arguments: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a form would send to mean these arguments. Raises NotShownError when it cannot mean exactly them."""
    sent: dict[str, list[str]] = {"form": ["1"]}
    shape = shape_of(schema, schema)
    if shape.kind is not Kind.GROUP and arguments:
        raise NotShownError("the schema names no members")
    if shape.kind is Kind.GROUP:
        _encode(shape, dict(arguments), "", schema, sent, 0)
    form = build(schema, sent)
    value = _read_group(form)
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
        sent[name] = [_dumps(value)]
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
        sent[f"f:{pointer}"] = [_dumps(each) for each in value]
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
            builder = _Builder(root, found, is_fresh=False)
            each = builder.field(inner, pointer, "", required=True, depth=depth + 1)
            fits = same(_READERS[each.kind](each) if not each.is_null else None, value)
        except NotShownError:
            continue
        except TypeError:  # a value that is MISSING is no JSON
            continue
        if fits:
            sent.update(found)
            return
    raise NotShownError("fits none of the variants")
