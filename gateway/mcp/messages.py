"""Reading one JSON-RPC message: the gateway must see exactly what the server behind it will see.

JSON lets two parsers disagree: repeated keys, keys that differ in case only, documents too deep for one of them. Such messages
are refused, because a policy decided on one reading protects nothing if the server acts on the other. The bytes that were
read are the bytes that are forwarded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import orjson

from gateway.mcp.errors import RefusedError

# Members that a decision or a check reads, by their case-folded form.
_ENVELOPE = {key: key for key in ("jsonrpc", "id", "method", "params", "result", "error")}
_PARAMS = {
    key.casefold(): key for key in ("name", "uri", "arguments", "_meta", "taskId", "protocolVersion", "notifications")
}
# What `subscriptions/listen` may ask for.
_WANTED = {
    key.casefold(): key
    for key in ("toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds")
}
# Members spelt exactly so cannot be mistaken for one another; what holds only these needs no closer look.
_EXACT = frozenset({*_ENVELOPE.values(), *_PARAMS.values()})
# What clients usually say in `_meta`: no two of these are alike.
_META = frozenset(
    f"io.modelcontextprotocol/{name}" for name in ("protocolVersion", "clientCapabilities", "clientInfo", "logLevel")
) | {"progressToken", "traceparent", "tracestate", "baggage"}
# The parameter that `Mcp-Name` mirrors.
NAME_KEYS = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/result": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
# Requests that are a stream for as long as somebody listens: leaving is how they end.
ENDLESS = frozenset({"subscriptions/listen"})
_NO_PARAMS: dict[str, Any] = {}
_NOTIFICATIONS = "notifications/"


class Shape(Enum):
    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


@dataclass(slots=True)
class Message:
    shape: Shape
    request_id: Any
    method: str
    params: dict[str, Any]
    # Why a message that could be read must still be refused; raised once the caller and the server are known.
    defect: RefusedError | None
    # What `Mcp-Name` mirrors: the tool, prompt, resource or task that the request is about.
    name: str | None = field(init=False)

    def __post_init__(self) -> None:
        value = self.params.get(NAME_KEYS.get(self.method))  # type: ignore[arg-type]
        self.name = value if isinstance(value, str) else None

    @property
    def needs_name(self) -> bool:
        return self.method in NAME_KEYS

    @property
    def right(self) -> str:
        """The method whose rule decides: to hear of single resources is to watch them, whichever request asks for it."""
        if self.method in ENDLESS:
            wanted = self.params.get("notifications")
            if isinstance(wanted, dict) and wanted.get("resourceSubscriptions"):
                return "resources/subscribe"
        return self.method


def read(body: bytes, max_depth: int) -> Message:
    """Raises RefusedError for what is no JSON-RPC message at all; lesser faults are kept in `defect`."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise RefusedError("gateway.parse_error") from exc
    if isinstance(data, list):
        raise RefusedError("gateway.request_invalid", "Batches are not accepted; send one message per request.")
    if not isinstance(data, dict) or data.get("jsonrpc") != "2.0":
        raise RefusedError("gateway.request_invalid")
    if _is_too_deep(data, body, max_depth):
        raise RefusedError("gateway.request_invalid", f"The message is nested deeper than {max_depth} levels.")
    message = _classify(data)
    message.defect = message.defect or _ambiguity(data, message.params, body)
    return message


def read_object(body: bytes, max_depth: int) -> tuple[dict[str, Any], RefusedError | None]:
    """One JSON object that is no JSON-RPC message, and why it must be refused, if so. Raises RefusedError."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise RefusedError("gateway.parse_error") from exc
    if not isinstance(data, dict):
        raise RefusedError("gateway.request_invalid", "The body must be a JSON object.")
    if _is_too_deep(data, body, max_depth):
        raise RefusedError("gateway.request_invalid", f"The message is nested deeper than {max_depth} levels.")
    return data, _ambiguity(data, _NO_PARAMS, body)


def _classify(data: dict[str, Any]) -> Message:
    method, params = data.get("method"), data.get("params", _NO_PARAMS)
    if method is None and ("result" in data or "error" in data) and _is_id(data.get("id")):
        return Message(Shape.RESPONSE, data["id"], "", _NO_PARAMS, None)
    if not isinstance(method, str) or not method or "result" in data or "error" in data:
        raise RefusedError("gateway.request_invalid")
    if "id" not in data:
        if not method.startswith(_NOTIFICATIONS):
            # A lenient server would run it, and neither the policy nor the call log would know.
            raise RefusedError("gateway.request_invalid", f"{method[:64]!r} is a request, and a request has an id.")
        shape, request_id = Shape.NOTIFICATION, None
    elif _is_id(data["id"]):
        shape, request_id = Shape.REQUEST, data["id"]
    else:
        raise RefusedError("gateway.request_invalid", "The id of a request is a string or a whole number.")
    if not isinstance(params, dict):
        return Message(
            shape, request_id, method, _NO_PARAMS, RefusedError("gateway.params_invalid", "`params` must be an object.")
        )
    message = Message(shape, request_id, method, params, None)
    if message.needs_name and not message.name:
        message.defect = RefusedError("gateway.params_invalid", f"{method} needs {NAME_KEYS[method]!r}.")
    return message


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _is_too_deep(data: Any, body: bytes, limit: int) -> bool:
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > limit:
            return True
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
    return False


def _ambiguity(data: dict[str, Any], params: dict[str, Any], body: bytes) -> RefusedError | None:
    """Repeated keys anywhere, and keys of the envelope or the parameters that another parser could take for one another."""
    # A document that serialises back to the same bytes has no repeated key; most clients send compact JSON.
    if orjson.dumps(data) != body and _repeats_a_key(body):
        return RefusedError("gateway.request_invalid", "A key occurs twice in one object of the message.")
    if _has_look_alike(data, _ENVELOPE) or (params and _has_look_alike(params, _PARAMS)):
        return RefusedError(
            "gateway.request_invalid", "Two keys of the message differ in case only, or one is misspelt."
        )
    wanted = params.get("notifications")
    if isinstance(wanted, dict) and _has_look_alike(wanted, _WANTED):
        return RefusedError(
            "gateway.request_invalid", "Two keys of `notifications` differ in case only, or one is misspelt."
        )
    meta = params.get("_meta")
    if isinstance(meta, dict) and not meta.keys() <= _META and len(set(map(str.casefold, meta))) != len(meta):
        return RefusedError("gateway.request_invalid", "Two keys of `_meta` differ in case only.")
    return None


def _has_look_alike(members: dict[str, Any], known: dict[str, str]) -> bool:
    if members.keys() <= _EXACT:
        return False
    folded = {key.casefold(): key for key in members}
    return len(folded) != len(members) or any(known.get(fold, key) != key for fold, key in folded.items())


class _RepeatedKeyError(Exception):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _RepeatedKeyError


def _repeats_a_key(body: bytes) -> bool:
    try:
        json.loads(body, object_pairs_hook=_pairs)
    except _RepeatedKeyError:
        return True
    except (ValueError, RecursionError):
        # What one parser reads and another does not is as ambiguous as a repeated key.
        return True
    return False
