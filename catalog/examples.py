"""An example of a tool's arguments, made from its schema. Pure.

Schemas come from strangers: the example is bounded in depth and size, and where a schema says nothing it says so by a blank.
"""

from __future__ import annotations

from typing import Any

DEPTH_MAX = 4
PROPERTIES_MAX = 20
TEXT_MAX = 120

_PLAIN: dict[str, Any] = {"string": "…", "integer": 1, "number": 1, "boolean": True, "null": None}


def of_schema(schema: object) -> dict[str, Any]:
    """Arguments that name what is required, else the first few properties. `{}` when the schema says nothing of use."""
    found = _value(schema, 0)
    return found if isinstance(found, dict) else {}


def _value(schema: object, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        return "…"
    for key in ("const", "default"):
        if key in schema:
            return _short(schema[key])
    for key in ("examples", "enum"):
        if isinstance(schema.get(key), list) and schema[key]:
            return _short(schema[key][0])
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return _value(schema[key][0], depth + 1)
    return _typed(schema, depth)


def _typed(schema: dict[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), None)
    if kind == "array":
        return [_value(schema.get("items"), depth + 1)]
    if kind == "object" or isinstance(schema.get("properties"), dict):
        return _object(schema, depth)
    return _PLAIN.get(kind, "…") if isinstance(kind, str) else "…"


def _object(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    required = schema.get("required")
    wanted = [name for name in required if name in properties] if isinstance(required, list) and required else []
    names = wanted or list(properties)[:3]
    return {str(name)[:TEXT_MAX]: _value(properties[name], depth + 1) for name in names[:PROPERTIES_MAX]}


def _short(value: Any) -> Any:
    """Values that the schema itself gives, unless they are large."""
    if isinstance(value, str):
        return value[:TEXT_MAX]
    if isinstance(value, (dict, list)):
        return value if len(str(value)) <= 4 * TEXT_MAX else "…"
    return value
