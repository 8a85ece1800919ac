"""One request to the fake Stripe: its routes, the rules for parameters, and helpers that the resources share."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from marketplace.testpayments.store import Body, Store
from marketplace.testpayments.stripe import errors

VERSION = "2026-10-28.endive"
_LIST_MAX = 100
_COMMON = frozenset({"expand"})
_PAGING = frozenset({"limit", "starting_after", "ending_before", "created"})


@dataclass(frozen=True, slots=True)
class Api:
    """What the functions of the resources work with."""

    store: Store
    # Where a browser finds the hosted pages, without a trailing slash.
    url: str

    def make(self, kind: str, prefix: str, **members: Any) -> Body:
        body = {
            "id": f"{prefix}_{secrets.token_hex(12)}",
            "object": kind,
            "created": self.store.now(),
            "livemode": False,
            **members,
        }
        return self.store.put(kind, body)

    def save(self, body: Body) -> Body:
        return self.store.put(body["object"], body)

    def find(self, kind: str, identifier: str, *, param: str = "") -> Body:
        """Raises the API's "no such" error: 404 for the object of the path, 400 for one named by a parameter."""
        found = self.store.get(kind, identifier)
        if found is None:
            status = {"status": 400} if param else {}
            raise errors.missing(kind, identifier, param=param or "id", **status)
        return found

    def every(self, kind: str, **wanted: Any) -> Iterable[Body]:
        """Objects of a kind, newest first, whose members have the wanted values."""
        for body in self.store.newest(kind):
            if all(body.get(name) == value for name, value in wanted.items()):
                yield body

    def emit(self, kind: str, body: Body) -> None:
        """Store an event with the object as it is now, and queue its webhook."""
        event = self.make("event", "evt", type=kind, api_version=VERSION, data={"object": shown(body)}, request=None)
        self.store.queue(event["id"])


Handler = Callable[..., Body]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    allowed: frozenset[str]
    required: tuple[str, ...]

    def check(self, parameters: Body) -> None:
        for name in parameters:
            if name not in self.allowed:
                raise errors.invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")
        for name in self.required:
            if parameters.get(name) in (None, ""):
                raise errors.invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")


ROUTES: list[Route] = []


def route(
    method: str, template: str, *allowed: str, required: tuple[str, ...] = (), pages: bool = False
) -> Callable[[Handler], Handler]:
    """Register a handler for a path such as `/v1/customers/{}`; parameters that it does not name are refused, as the API does."""
    pattern = re.compile("".join("([A-Za-z0-9_]+)" if part == "{}" else re.escape(part) for part in _parts(template)))
    names = frozenset({*allowed, *required}) | _COMMON | (_PAGING if pages else frozenset())

    def decorate(handler: Handler) -> Handler:
        ROUTES.append(Route(method, pattern, handler, names, required))
        return handler

    return decorate


def _parts(template: str) -> list[str]:
    return re.split(r"(\{\})", template)


def resolve(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    """The route with the fewest blanks: `/v1/payment_intents/search` is no id."""
    found = [(each, match) for each in ROUTES if each.method == method and (match := each.pattern.fullmatch(path))]
    if not found:
        raise errors.ApiError(404, "invalid_request_error", f"Unrecognized request URL ({method}: {path}).")
    best, match = min(found, key=lambda pair: pair[0].pattern.groups)
    return best, match.groups()


def listed(found: Iterable[Body], parameters: Body, url: str) -> Body:
    """One page of objects that come newest first."""
    limit = int(parameters.get("limit", 10))
    if not 1 <= limit <= _LIST_MAX:
        raise errors.invalid(f"limit must be between 1 and {_LIST_MAX}.", param="limit")
    rows = [body for body in found if _in_time(body["created"], parameters.get("created"))]
    if after := parameters.get("starting_after"):
        ids = [body["id"] for body in rows]
        rows = rows[ids.index(after) + 1 :] if after in ids else []
    return {"object": "list", "url": url, "data": rows[:limit], "has_more": len(rows) > limit}


def _in_time(created: int, asked: Any) -> bool:
    if not isinstance(asked, dict):
        return asked is None or created == int(asked)
    rules = {
        "gte": lambda bound: created >= bound,
        "gt": lambda bound: created > bound,
        "lte": lambda bound: created <= bound,
        "lt": lambda bound: created < bound,
    }
    return all(rules[name](int(bound)) for name, bound in asked.items())


def expand(api: Api, body: Body, paths: Iterable[str]) -> Body:
    """Put objects where their ids are, along dotted paths."""
    for path in paths:
        _expand(api, body, path.split("."))
    return body


def _expand(api: Api, body: Any, path: list[str]) -> None:
    if isinstance(body, list):
        for each in body:
            _expand(api, each, path)
        return
    if not isinstance(body, dict) or path[0] not in body:
        raise errors.invalid(f"This property cannot be expanded ({path[0]}).", param="expand")
    value = body[path[0]]
    if isinstance(value, str):
        body[path[0]] = value = api.store.get(None, value) or value
    if len(path) > 1 and value is not None:
        _expand(api, value, path[1:])


def shown(value: Any) -> Any:
    """Without what the fake keeps for itself: members whose names begin with an underscore."""
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items() if not name.startswith("_")}
    return [shown(each) for each in value] if isinstance(value, list) else value


def boolean(value: Any) -> bool:
    return value in ("true", True)


def amount(parameters: Body, name: str = "amount") -> int:
    text = str(parameters[name])
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise errors.invalid(
            "This value must be greater than or equal to 1.", param=name, code="parameter_invalid_integer"
        )
    return int(text)


def merged(old: Body, new: Any) -> Body:
    """Metadata after a change: an empty value takes its key away."""
    both = {**old, **(new or {})}
    return {name: value for name, value in both.items() if value != ""}
