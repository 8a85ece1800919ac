"""What a piece of a tool's JSON Schema means for a form. Pure.

Schemas come from strangers: whatever is odd, deep or not understood becomes a field for JSON, never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

OPTIONS_MAX = 500
TICKS_MAX = 30
VARIANTS_MAX = 16
PROPERTIES_MAX = 120
DEPTH_MAX = 8
REFERENCES_MAX = 3
_HOPS_MAX = 16

Schema = dict[str, Any]


class Kind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CHOICE = "choice"  # one of some values, of whatever types
    NULL = "null"  # nothing but null
    LINES = "lines"  # a list of texts or numbers, one a line
    TICKS = "ticks"  # a list of some of some values
    ROWS = "rows"  # a list of whatever
    GROUP = "group"  # an object with known members
    MAP = "map"  # an object with free names
    VARIANT = "variant"  # one of several shapes
    JSON = "json"  # what the form cannot show


@dataclass(frozen=True, slots=True)
class Shape:
    """`schema` has its references and its union with null resolved, one level deep."""

    kind: Kind
    schema: Schema
    nullable: bool = False
    options: tuple[Any, ...] = ()
    variants: tuple[Any, ...] = ()  # schemas
    item: Any = True  # the schema of a list's items, or of a map's values
    properties: Mapping[str, Any] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    why: str = ""  # of JSON: what the form cannot show


def shape_of(schema: Any, root: Any, depth: int = 0) -> Shape:
    """The shape of a schema that stands somewhere inside `root`."""
    if depth > DEPTH_MAX:
        return _json(schema, "it is nested too deeply")
    found = _resolved(schema, root)
    if found is None:
        return _json(schema, "its description refers to something that is not there")
    found = _merged(found, root)
    if found is None:
        return _json(schema, "it combines several descriptions")
    options = _union(found)
    if options:
        return _of_union(found, options, root, depth)
    return _of_type(found, root, depth)


def inner_shape(schema: Any, root: Any, depth: int) -> Shape:
    """The shape of a member, entry or variant. A reference this far inside likely names what it stands in, again and again."""
    if depth > REFERENCES_MAX and isinstance(schema, dict) and "$ref" in schema:
        return _json(schema, "it is nested too deeply")
    return shape_of(schema, root, depth)


def _json(schema: Any, why: str) -> Shape:
    return Shape(Kind.JSON, schema if isinstance(schema, dict) else {}, why=why)


def _resolved(schema: Any, root: Any) -> Schema | None:
    """The schema with the reference at its top replaced by what it names; None when that is not to be had."""
    hops = 0
    while isinstance(schema, dict) and "$ref" in schema:
        target = _lookup(root, schema["$ref"])
        hops += 1
        if not isinstance(target, dict) or hops > _HOPS_MAX:
            return None
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    if schema is True:
        return {}
    return schema if isinstance(schema, dict) else None


def _lookup(root: Any, reference: Any) -> Any:
    if reference == "#":
        return root
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found = root
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and len(name) < 5 and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            return None
    return found


def _merged(schema: Schema, root: Any) -> Schema | None:
    """The schema with its `allOf` taken in; None where the parts do not simply add up."""
    parts = schema.get("allOf")
    if not isinstance(parts, list) or not parts:
        return schema
    whole = {name: value for name, value in schema.items() if name != "allOf"}
    for part in parts:
        each = _resolved(part, root)
        if each is None:
            return None
        if "if" in each or "not" in each:
            continue  # says when a value is wrong, not what it looks like; the check knows it
        if "allOf" in each or not _add(whole, each):
            return None
    return whole


def _add(whole: Schema, part: Schema) -> bool:
    for name, value in part.items():
        mine = whole.get(name)
        if name == "properties" and isinstance(mine, dict) and isinstance(value, dict):
            whole[name] = {**mine, **value}
        elif name == "required" and isinstance(mine, list) and isinstance(value, list):
            whole[name] = [*mine, *value]
        elif name in {"description", "title", "default", "examples"}:
            whole.setdefault(name, value)
        elif mine is None:
            whole[name] = value
        elif mine != value:
            return False
    return True


_SHAPING = {"type", "properties", "const", "enum", "items", "$ref", "anyOf", "oneOf", "allOf", "additionalProperties"}


def _union(schema: Schema) -> list[Any]:
    """The alternatives that change what a value looks like; none when they only say which members go together."""
    for name in ("anyOf", "oneOf"):
        parts = schema.get(name)
        if (
            isinstance(parts, list)
            and parts
            and all(not isinstance(part, dict) or part.keys() & _SHAPING for part in parts)
        ):
            return parts
    kinds = schema.get("type")
    if isinstance(kinds, list) and len(kinds) > 1 and all(isinstance(kind, str) for kind in kinds):
        return [{"type": kind} for kind in kinds]
    return []


_WORDS: tuple[str, ...] = ("title", "description", "default", "examples")
_APART = {"anyOf", "oneOf", "type", "nullable", *_WORDS}


def _of_union(schema: Schema, parts: list[Any], root: Any, depth: int) -> Shape:
    shared = {name: value for name, value in schema.items() if name not in _APART}
    if "type" in schema and not isinstance(schema["type"], list):
        shared["type"] = schema["type"]
    found = [each for each in (_resolved(part, root) for part in parts) if each is not None]
    if len(found) != len(parts) or len(found) > VARIANTS_MAX:
        return _json(schema, "it may look in too many ways")
    others = [each for each in found if each.get("type") != "null"]
    nullable = len(others) < len(found)
    words: Schema = {name: schema[name] for name in _WORDS if name in schema}
    options = [value for each in others for value in _values(each)]
    if others and all(_values(each) for each in others):
        return _choice({**shared, **words}, options + ([None] if nullable else []))
    if not others:
        return Shape(Kind.NULL, words)
    if len(others) == 1:
        inner = shape_of({**shared, **others[0], **words}, root, depth + 1)
        return _with_null(inner) if nullable else inner
    variants = tuple({**shared, **each} for each in others)
    return Shape(Kind.VARIANT, {**shared, **words}, nullable, variants=variants)


def _with_null(shape: Shape) -> Shape:
    if shape.kind is Kind.CHOICE:
        return _choice(shape.schema, [*shape.options, None])
    return Shape(
        shape.kind, shape.schema, True, shape.options, shape.variants, shape.item, shape.properties, shape.required, shape.why
    )  # fmt: skip


def _values(schema: Schema) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else []


def _choice(schema: Schema, options: list[Any]) -> Shape:
    different: list[Any] = []
    seen: set[str] = set()
    for option in options[: OPTIONS_MAX + 1]:
        # True is 1 to Python and not to JSON.
        mark = f"{type(option).__name__}:{option!r}"
        if mark not in seen:
            seen.add(mark)
            different.append(option)
    if len(different) > OPTIONS_MAX:
        return _json(schema, "there are too many possible values")
    return Shape(Kind.CHOICE, schema, options=tuple(different))


_PLAIN = {
    "number": Kind.NUMBER,
    "integer": Kind.INTEGER,
    "boolean": Kind.BOOLEAN,
    "string": Kind.TEXT,
    "null": Kind.NULL,
}


def _of_type(schema: Schema, root: Any, depth: int) -> Shape:
    if values := _values(schema):
        return _choice(schema, values)
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) and len(kinds) == 1 else kinds or _guessed(schema)
    nullable = schema.get("nullable") is True
    if isinstance(kind, str) and kind in _PLAIN:
        return Shape(_PLAIN[kind], schema, nullable)
    if kind == "array":
        return _array(schema, root, depth, nullable)
    if kind == "object":
        return _object(schema, nullable)
    return _json(schema, "its type is open")


def _guessed(schema: Schema) -> str:
    for names, kind in (
        (("properties", "additionalProperties"), "object"),
        (("items",), "array"),
        (("minLength", "maxLength", "pattern", "format"), "string"),
        (("minimum", "maximum"), "number"),
    ):
        if any(name in schema for name in names):
            return kind
    return ""


def _array(schema: Schema, root: Any, depth: int, nullable: bool) -> Shape:
    item = schema.get("items")
    if not isinstance(item, dict) or not item or "prefixItems" in schema:
        return _json(schema, "the type of its entries is open")
    inner = shape_of(item, root, depth + 1)
    if inner.kind is Kind.JSON:
        return _json(schema, f"of its entries: {inner.why}")
    if inner.kind in {Kind.TEXT, Kind.INTEGER, Kind.NUMBER} and not inner.nullable:
        return Shape(Kind.LINES, schema, nullable, item=item)
    if inner.kind is Kind.CHOICE and 0 < len(inner.options) <= TICKS_MAX:
        return Shape(Kind.TICKS, schema, nullable, options=inner.options, item=item)
    return Shape(Kind.ROWS, schema, nullable, item=item)


def _object(schema: Schema, nullable: bool) -> Shape:
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    free = schema.get("additionalProperties")
    asked = [name for name in _list(schema.get("required")) if isinstance(name, str)]
    required = frozenset(asked)
    # Stored schemas have lost the order of their members: what is required comes first, in the order in which it is listed.
    known = {name: known[name] for name in [*(name for name in asked if name in known), *known]}
    if len(known) > PROPERTIES_MAX:
        return _json(schema, "it has too many members")
    if known or free is False:
        return Shape(Kind.GROUP, schema, nullable, properties=known, required=required & known.keys())
    if isinstance(free, dict) and free:
        return Shape(Kind.MAP, schema, nullable, item=free)
    return _json(schema, "its members are open")


def _list(value: Any) -> Iterator[Any]:
    return iter(value if isinstance(value, list) else ())
