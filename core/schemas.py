"""Checking values against JSON Schemas that strangers wrote.

A schema is a program for whoever checks by it, so it gets no more than a share of our time: nothing is fetched, steps are
counted, and patterns are run only where they cannot take long. What cannot be checked is said to be unchecked, never refused.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from re import _parser as patterns  # type: ignore[attr-defined]
from typing import Any, Final
from uuid import UUID

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

FAULTS_MAX: Final = 50
_STEPS_MAX: Final = 20_000
_PATTERN_MAX: Final = 500
_PATTERN_STEPS_MAX: Final = 20_000_000
_REPEATS_MAX: Final = 64
_OLD_DRAFTS = ("draft-07", "draft-06", "draft-04", "draft-03")

type_schema = dict[str, Any] | bool


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value, and where: a JSON pointer (RFC 6901), empty for the whole."""

    pointer: str
    message: str


class UncheckedError(Exception):
    """The schema is not one that values can be held against; the message says why, for people."""


class _TooLongError(Exception):
    pass


_steps: ContextVar[list[int]] = ContextVar("steps")


def faults_of(schema: type_schema, value: Any) -> list[Fault]:
    """What speaks against a value, at most FAULTS_MAX faults. Raises UncheckedError."""
    token = _steps.set([0])
    try:
        validator = _validator(schema)
        return [fault for error in _some(validator.iter_errors(value)) for fault in _faults(error)][:FAULTS_MAX]
    except _TooLongError as exc:
        raise UncheckedError("Its schema takes too long to check.") from exc
    except RecursionError as exc:
        raise UncheckedError("Its schema refers to itself without an end.") from exc
    except UncheckedError:
        raise
    except Exception as exc:  # whatever a broken schema makes the library trip over
        raise UncheckedError("Its schema is not a valid JSON Schema.") from exc
    finally:
        _steps.reset(token)


def pointer_of(path: Any) -> str:
    return "".join("/" + escape(str(step)) for step in path)


def escape(step: str) -> str:
    """One step of a JSON pointer."""
    return step.replace("~", "~0").replace("/", "~1")


def _some(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    for count, error in enumerate(errors):
        if count >= FAULTS_MAX:
            return
        yield error


def _validator(schema: type_schema) -> Any:
    named = str(schema.get("$schema", "")) if isinstance(schema, dict) else ""
    kind = _OLD if any(draft in named for draft in _OLD_DRAFTS) else _PRESENT
    # An empty registry: what a reference names elsewhere is not fetched.
    return kind(schema, registry=Registry(), format_checker=_FORMATS)


def _faults(error: ValidationError) -> list[Fault]:
    place = pointer_of(error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = [name for name in error.validator_value if name not in error.instance]
        # The library reports one error for each missing name; the first word of its message is which.
        named = [name for name in missing if error.message.startswith(repr(name))] or missing[:1]
        return [Fault(f"{place}/{escape(name)}", "Fill this in.") for name in named]
    return [Fault(place, _words(error))]


def _words(error: ValidationError) -> str:
    wanted, kind = error.validator_value, str(error.validator)
    if kind in _WORDS and isinstance(wanted, str | int | float):
        return _WORDS[kind].format(wanted)
    if kind == "type":
        return f"This must be {_type_words(wanted)}."
    if kind in {"enum", "const"}:
        return "This is not one of the possible values."
    if kind in {"anyOf", "oneOf"}:
        return "This fits none of the possible forms, or more than one."
    if kind == "additionalProperties":
        return "This holds members that the tool does not know."
    return f"This does not fit the tool's schema ({kind})."


_WORDS = {
    "minLength": "Use at least {} characters.",
    "maxLength": "Use at most {} characters.",
    "minimum": "The least is {}.",
    "maximum": "The most is {}.",
    "exclusiveMinimum": "This must be more than {}.",
    "exclusiveMaximum": "This must be less than {}.",
    "multipleOf": "This must be a multiple of {}.",
    "minItems": "Give at least {}.",
    "maxItems": "Give at most {}.",
    "minProperties": "Give at least {}.",
    "maxProperties": "Give at most {}.",
    "pattern": "This must match the pattern {}.",
    "format": "This is no valid {}.",
    "uniqueItems": "The same value stands here twice.",
}
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _type_words(wanted: Any) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    return " or ".join(_TYPES.get(str(name), str(name)) for name in names)


def _counted(check: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(check)
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        steps = _steps.get()
        steps[0] += 1
        if steps[0] > _STEPS_MAX:
            raise _TooLongError
        yield from check(validator, value, instance, schema) or ()

    return run


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and is_quick(pattern, len(instance)) and re.search(pattern, instance) is None:
        yield ValidationError("pattern")


def _pattern_properties(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, inner in wanted.items():
        for name, value in instance.items():
            if is_quick(pattern, len(name)) and re.search(pattern, name):
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def is_quick(pattern: Any, length: int) -> bool:
    """Whether a pattern of a stranger may be run on a text of this length: each open repetition multiplies its cost by that."""
    count = _repetitions(pattern) if isinstance(pattern, str) and len(pattern) <= _PATTERN_MAX else None
    return count is not None and max(length, 1) ** (count + 1) <= _PATTERN_STEPS_MAX


@functools.lru_cache(maxsize=512)
def _repetitions(pattern: str) -> int | None:
    """How many open repetitions stand in it; None where they stand in one another, or it is no pattern here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = patterns.parse(pattern)
            re.compile(pattern)
        return _open(parsed, within=False)
    except (re.error, RecursionError, OverflowError, _NestedError):
        return None


class _NestedError(Exception):
    pass


def _open(parsed: Any, *, within: bool) -> int:
    """Raises _NestedError for whatever may be read in many ways within a repetition: that costs time without a bound."""
    count = 0
    for operation, given in parsed:
        name, inner = str(operation), within
        if name.endswith("_REPEAT"):
            least, most = given[0], given[1]
            if (within and least != most) or least > _REPEATS_MAX:
                raise _NestedError
            count += most > _REPEATS_MAX
            inner = within or most > 1
        elif name == "GROUPREF" or (name == "BRANCH" and within):
            raise _NestedError
        count += sum(_open(part, within=inner) for part in _parts(given))
    return count


def _parts(given: Any) -> Iterator[Any]:
    """The patterns that stand inside what the parser gives for one operation."""
    if isinstance(given, patterns.SubPattern):
        yield given
    elif isinstance(given, list | tuple):
        for each in given:
            yield from _parts(each)


def _is_moment(value: object) -> bool:
    text = str(value).upper().replace("Z", "+00:00")
    return datetime.fromisoformat(text).tzinfo is not None and "T" in text


def _is_day(value: object) -> bool:
    date.fromisoformat(str(value))
    return len(str(value)) == len("2026-01-01")


def _formats() -> FormatChecker:
    checker = FormatChecker(formats=())
    rules: dict[str, Callable[[Any], object]] = {
        "date-time": _is_moment,
        "date": _is_day,
        "uuid": lambda value: UUID(value) and len(value) == 36,
        "ipv4": lambda value: bool(ipaddress.IPv4Address(value)) or True,
        "ipv6": lambda value: bool(ipaddress.IPv6Address(value)) or True,
        "email": lambda value: bool(re.fullmatch(r"[^@\s]+@[^@\s]+", value)),
        "uri": lambda value: bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*:\S", value)) and " " not in value,
    }
    for name, rule in rules.items():
        checker.checks(name, raises=ValueError)(
            lambda value, rule=rule: not isinstance(value, str) or bool(rule(value))
        )
    return checker


_FORMATS = _formats()
_OWN = {"pattern": _pattern, "patternProperties": _pattern_properties}
_OLD, _PRESENT = (
    extend(base, {name: _counted(check) for name, check in (dict(base.VALIDATORS) | _OWN).items()})
    for base in (Draft7Validator, Draft202012Validator)
)
