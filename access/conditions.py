"""When a grant counts: hours, addresses, environments, and what arguments may be. Pure.

As JSON, in a grant's `conditions`:

    {"hours": [{"days": ["mon", "fri"], "from": "08:00", "to": "18:00", "zone": "Europe/Berlin"}],
     "networks": ["203.0.113.0/24"], "environments": ["production"],
     "arguments": {"refund_invoice": {"properties": {"amount": {"maximum": 100}}}}}
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jsonschema

from access.types import Conditions, Hours, Request
from core import addresses
from core.errors import InvalidError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PARTS = {"hours", "networks", "environments", "arguments"}
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z|24:00\Z")
_ENVIRONMENT = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,38}[a-z0-9])?\Z")
MAX_HOURS, MAX_ENVIRONMENTS, MAX_TOOLS = 20, 20, 100
MAX_SCHEMA_BYTES = 8 * 1024
# Keywords whose work grows with the schema times the arguments and no faster; no references, nothing that has to be fetched.
KEYWORDS = frozenset(
    {
        "type", "enum", "const", "properties", "required", "additionalProperties", "propertyNames", "minProperties",
        "maxProperties", "dependentRequired", "items", "prefixItems", "minItems", "maxItems", "minLength", "maxLength",
        "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "anyOf", "oneOf", "allOf",
        "not", "if", "then", "else",
    }
)  # fmt: skip
_PART = r"(?:\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\\[\](){}|*+?^$])(?P<repeat>(?:[*+?]|\{\d{1,2}(?:,\d{0,2})?\})?)"
_ATOM = re.compile(_PART)
_PLAIN_PATTERN = re.compile(r"\^(?:" + _PART.replace("?P<repeat>", "?:") + r")*\$?\Z")
_NOTES = frozenset({"title", "description", "$comment", "$schema", "examples", "default", "deprecated"})
_OF_SCHEMAS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_OF_SCHEMA = frozenset({"additionalProperties", "propertyNames", "items", "not", "if", "then", "else"})
# One gateway serves many organisations: whoever's schema and arguments take more steps than this are not judged to the end.
MAX_STEPS = 2_000


class ConditionInvalidError(InvalidError):
    code = "access.condition_invalid"
    default_message = "These conditions cannot be read."


def parse(data: Any) -> Conditions | None:
    """Conditions from their JSON; None when nothing is set. Raises ConditionInvalidError, which names the part."""
    if not data:
        return None
    if not isinstance(data, Mapping) or not data.keys() <= _PARTS:
        raise _invalid("", f"Conditions are an object with {', '.join(sorted(_PARTS))}.")
    found = Conditions(
        hours=tuple(_hours(each) for each in _list(data, "hours", MAX_HOURS)),
        networks=_networks(_list(data, "networks", addresses.MAX_RANGES)),
        environments=frozenset(_environment(each) for each in _list(data, "environments", MAX_ENVIRONMENTS)),
        arguments=_arguments(data.get("arguments") or {}),
    )
    return found if found != Conditions() else None


def to_json(conditions: Conditions | None) -> dict[str, Any]:
    """The JSON that `parse` reads, in one order."""
    if conditions is None:
        return {}
    found = {
        "hours": [
            {
                "days": [DAYS[day] for day in sorted(hours.days)],
                "from": _clock(hours.start),
                "to": _clock(hours.end),
                "zone": hours.zone,
            }
            for hours in conditions.hours
        ],
        "networks": sorted(conditions.networks),
        "environments": sorted(conditions.environments),
        "arguments": dict(conditions.arguments),
    }
    return {name: value for name, value in found.items() if value}


def hold(conditions: Conditions, request: Request, now: datetime) -> bool:
    """Whether hours, address and environment are such that the grant counts. What is not known does not hold."""
    if conditions.environments and request.environment not in conditions.environments:
        return False
    if conditions.networks and not _is_within(request.address, conditions.networks):
        return False
    return not conditions.hours or any(is_in(hours, now) for hours in conditions.hours)


def may_hold(conditions: Conditions, request: Request, now: datetime) -> bool:
    """The same, but what is not known may hold: for what a grant denies."""
    if conditions.environments and request.environment and request.environment not in conditions.environments:
        return False
    if conditions.networks and request.address and not _is_within(request.address, conditions.networks):
        return False
    return not conditions.hours or any(is_in(hours, now) for hours in conditions.hours)


def fits(conditions: Conditions, request: Request) -> bool:
    """Whether the arguments are such as the grant allows for the tool. Arguments that nobody has named yet are not judged."""
    schema = conditions.arguments.get(request.tool)
    if schema is None or request.arguments is None:
        return True
    _budget.left = MAX_STEPS
    try:
        return bool(_validator(json.dumps(schema, sort_keys=True)).is_valid(dict(request.arguments)))
    except (_TooLongError, RecursionError):
        # What cannot be judged to its end is not allowed.
        return False


class _TooLongError(Exception):
    pass


class _Budget(threading.local):
    left = MAX_STEPS


_budget = _Budget()


def _counted(check: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Iterator[Any]:
        _budget.left -= 1
        if _budget.left < 0:
            raise _TooLongError
        yield from check(*args) or ()

    return run


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {word: _counted(jsonschema.Draft202012Validator.VALIDATORS[word]) for word in KEYWORDS - {"then", "else"}},
)


@functools.lru_cache(maxsize=1024)
def _validator(text: str) -> Any:
    return _Validator(json.loads(text))


@functools.lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@functools.lru_cache(maxsize=4096)
def _is_within(address: str, ranges: frozenset[str]) -> bool:
    return bool(address) and addresses.is_within(addresses.origin(address, "", 0), ranges)


def is_in(hours: Hours, now: datetime) -> bool:
    """Whether the moment is in the hours, by the clock of their zone."""
    local = now.astimezone(zone(hours.zone))
    minute, day = local.hour * 60 + local.minute, local.weekday()
    if hours.start < hours.end:
        return day in hours.days and hours.start <= minute < hours.end
    # Past midnight: the second part belongs to the day on which it began.
    return (day in hours.days and minute >= hours.start) or ((day - 1) % 7 in hours.days and minute < hours.end)


def _list(data: Mapping[str, Any], name: str, most: int) -> list[Any]:
    found = data.get(name) or []
    if not isinstance(found, list) or len(found) > most:
        raise _invalid(name, f"{name} is a list of at most {most}.")
    return found


def _hours(data: Any) -> Hours:
    if not isinstance(data, Mapping) or not data.keys() <= {"days", "from", "to", "zone"}:
        raise _invalid("hours", "Hours have days, from, to and zone.")
    days = data.get("days") or list(DAYS)
    if not isinstance(days, list) or not set(map(str, days)) <= set(DAYS):
        raise _invalid("hours", f"Days are {', '.join(DAYS)}.")
    start, end = _minutes(data.get("from", "00:00")), _minutes(data.get("to", "24:00"))
    if start == end:
        raise _invalid("hours", "Hours that begin when they end hold never or always; leave them out instead.")
    name = data.get("zone") or "UTC"
    try:
        zone(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _invalid("hours", f"There is no time zone named {str(name)[:60]!r}.") from error
    return Hours(frozenset(DAYS.index(day) for day in days), start, end, str(name))


def _minutes(text: Any) -> int:
    if not isinstance(text, str) or not _TIME.match(text):
        raise _invalid("hours", "A time is written as 08:30, and the end of a day as 24:00.")
    return int(text[:2]) * 60 + int(text[3:])


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _networks(texts: list[Any]) -> frozenset[str]:
    try:
        return frozenset(addresses.parse_ranges(map(str, texts)))
    except addresses.RangeInvalidError as error:
        raise _invalid("networks", error.message) from error


def _environment(value: Any) -> str:
    if not isinstance(value, str) or not _ENVIRONMENT.match(value):
        raise _invalid("environments", "An environment is a short name such as production or staging.")
    return value


def _arguments(data: Any) -> dict[str, Any]:
    if not isinstance(data, Mapping) or len(data) > MAX_TOOLS:
        raise _invalid("arguments", f"arguments is an object with a JSON Schema for each of at most {MAX_TOOLS} tools.")
    return {str(tool)[:256]: _schema(str(tool), schema) for tool, schema in sorted(data.items())}


def _schema(tool: str, schema: Any) -> Any:
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise _invalid("arguments", f"The schema for {tool[:60]!r} has more than {MAX_SCHEMA_BYTES:,} bytes.")
    try:
        _check(schema)
        jsonschema.Draft202012Validator.check_schema(schema)
    except (jsonschema.SchemaError, RecursionError) as error:
        raise _invalid("arguments", f"The schema for {tool[:60]!r} is no JSON Schema.") from error
    return json.loads(text)


def _check(schema: Any) -> None:
    """Raises ConditionInvalidError for a schema with more than the keywords that are safe to decide by."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        raise _invalid("arguments", "A JSON Schema is an object, true or false.")
    unknown = sorted(schema.keys() - KEYWORDS - _NOTES)
    if unknown:
        raise _invalid(
            "arguments", f"The keyword {unknown[0][:60]!r} cannot be used here. Use {', '.join(sorted(KEYWORDS))}."
        )
    if "pattern" in schema:
        _check_pattern(schema["pattern"])
    for each in _parts_of(schema):
        _check(each)


def _parts_of(schema: Mapping[str, Any]) -> Iterator[Any]:
    """The schemas right inside a schema."""
    for word, value in schema.items():
        if word in _OF_SCHEMA:
            yield value
        elif word in _OF_SCHEMAS and isinstance(value, list):
            yield from value
        elif word == "properties" and isinstance(value, Mapping):
            yield from value.values()


def _check_pattern(value: Any) -> None:
    """Only patterns whose work grows with the length of the text: from its beginning, with one open repetition at most."""
    if not isinstance(value, str):
        raise _invalid("arguments", "A pattern is text.")
    repeats = [found["repeat"] for found in _ATOM.finditer(value, 1) if found["repeat"]]
    loose = [each for each in repeats if "," in each or each[0] != "{"]
    open_ended = [each for each in loose if each[0] in "*+" or each.endswith(",}")]
    if not _PLAIN_PATTERN.match(value) or len(loose) > 2 or len(open_ended) > 1:
        raise _invalid(
            "arguments",
            f"The pattern {value[:60]!r} is too free. Begin it with ^, and use no groups, no alternatives and at most two "
            "repetitions of no fixed number, one of them open.",
        )
    try:
        re.compile(value)
    except (re.error, OverflowError) as error:
        raise _invalid("arguments", f"{value[:60]!r} is no regular expression.") from error


def _invalid(part: str, message: str) -> ConditionInvalidError:
    return ConditionInvalidError(message, field="conditions", part=part)
