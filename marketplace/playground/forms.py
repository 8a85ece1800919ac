"""Arguments from a form that was sent, or from JSON, held against the tool's schema. Pure.

What is left empty is not sent. What is wrong is said at its field.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.schemas import UncheckedError, faults_of
from marketplace.playground.building import build
from marketplace.playground.fields import Field, Sent, last
from marketplace.playground.shapes import Kind

_INTEGER = re.compile(r"-?[0-9]{1,400}\Z")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?\Z")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a form says. `arguments` is None when something is wrong; `unchecked` says why nothing could be checked."""

    form: Field
    arguments: dict[str, Any] | None
    errors: int = 0
    unchecked: str = ""


def read(schema: Any, sent: Sent) -> Reading:
    """The arguments that a sent form means, held against the schema."""
    form = build(schema, sent)
    value = read_group(form)
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
    return READERS[each.kind](each)


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
    convert = _LINEREADERS[each.lines_of]
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


_LINEREADERS: dict[Kind, Callable[[str], Any]] = {
    Kind.TEXT: lambda line: line,
    Kind.INTEGER: _integer,
    Kind.NUMBER: lambda line: _number(line.strip()),
}


def _read_ticks(each: Field) -> Any:
    return [json.loads(option.value) for option in each.options if option.chosen]


def _read_rows(each: Field) -> Any:
    values = [_read(child) for child in each.children if not child.is_blank]
    return [value for value in values if value is not MISSING]


def read_group(each: Field) -> Any:
    """The object that a group means, without what was left empty."""
    found = {}
    for child in each.children:
        value = _read(child)
        if value is not MISSING:
            found[last(child.pointer)] = value
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
        value = READERS[child.kind](child) if not child.is_null else None
        if value is not MISSING:
            found[text] = value
    return found


def _read_variant(each: Field) -> Any:
    if not each.children:
        return _wrong(each, "Choose one.")
    return READERS[each.children[0].kind](each.children[0])


def _read_json(each: Field) -> Any:
    try:
        return parse_json(each.value)
    except ValueError as exc:
        return _wrong(each, f"This is no valid JSON: {exc}." if each.value.strip() else "Fill this in.")


READERS: dict[Kind, Callable[[Field], Any]] = {
    Kind.TEXT: _read_text,
    Kind.INTEGER: _read_integer,
    Kind.NUMBER: _read_number,
    Kind.BOOLEAN: _read_choice,
    Kind.CHOICE: _read_choice,
    Kind.NULL: _read_null,
    Kind.LINES: _read_lines,
    Kind.TICKS: _read_ticks,
    Kind.ROWS: _read_rows,
    Kind.GROUP: read_group,
    Kind.MAP: _read_map,
    Kind.VARIANT: _read_variant,
    Kind.JSON: _read_json,
}
