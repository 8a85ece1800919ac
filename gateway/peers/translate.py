"""Between the modern revision and the handshake revisions: what each calls the same thing. Pure functions on messages.

Only what is named here changes; every other member of a message goes on as it came (2026-07-28 against 2025-11-25 and older).
"""

from __future__ import annotations

import copy
from typing import Any

from gateway.mcp.errors import INVALID_PARAMS
from gateway.mcp.tasks import EXTENSION
from gateway.mcp.versions import FIRST_MODERN, META_CAPABILITIES, META_CLIENT, META_VERSION
from gateway.peers import Json

META_SERVER = "io.modelcontextprotocol/serverInfo"
META_LOG_LEVEL = "io.modelcontextprotocol/logLevel"
META_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"

# What a client says with every request there and once per session here.
_ENVELOPE = frozenset({META_VERSION, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL})
_CACHEABLE = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)
# What a request within a session does not have; `task` there asks for a task of the older core.
_NOT_IN_SESSIONS = frozenset({"_meta", "inputResponses", "requestState", "task"})
_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_OLD_NOT_FOUND = -32002
_OLD_URL_NEEDED = -32042
_CAPABILITY_MISSING = -32021
# The client capability that each request of a server needs.
_NEEDED = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
ASKED = frozenset(_NEEDED.values())
# Requests whose answer may ask the client for more (2026-07-28, multi round-trip requests).
ASKING = frozenset({"tools/call", "prompts/get", "resources/read"})


def meta_of(params: Json) -> Json:
    meta = params.get("_meta")
    return meta if isinstance(meta, dict) else {}


def capabilities_of(params: Json) -> Json:
    """What the client of a modern request can be asked, as a session is told: `tasks` of the older core means something else."""
    declared = meta_of(params).get(META_CAPABILITIES)
    if not isinstance(declared, dict):
        return {}
    capabilities = without_tasks(declared)
    if isinstance(roots := capabilities.get("roots"), dict):
        # A client of the modern revision does not say that its roots have changed.
        capabilities["roots"] = {name: value for name, value in roots.items() if name != "listChanged"}
    return capabilities


def without_tasks(capabilities: Json) -> Json:
    """Capabilities of either side without tasks, which the two eras cannot have with each other."""
    kept = {name: value for name, value in capabilities.items() if name != "tasks"}
    if isinstance(extensions := kept.get("extensions"), dict):
        kept["extensions"] = {name: value for name, value in extensions.items() if name != EXTENSION}
    return kept


def asks_back(capabilities: Json) -> bool:
    """Whether a server may ask this client anything."""
    return any(name in capabilities for name in ASKED)


def can_be_asked(capabilities: Json, request: Json) -> bool:
    """Whether the client declared what this request of the server needs."""
    kind = _NEEDED.get(str(request.get("method")))
    declared = capabilities.get(kind) if kind is not None else None
    if not isinstance(declared, dict):
        return False
    params = request.get("params")
    if kind == "elicitation" and isinstance(params, dict) and params.get("mode") == "url":
        return "url" in declared
    if kind == "elicitation":
        return not declared or "form" in declared
    return True


def log_level_of(params: Json) -> str:
    """The least severe log message that the client wants, empty when it wants none."""
    level = meta_of(params).get(META_LOG_LEVEL)
    return level if level in _LEVELS else ""


def is_wanted(message: Json, level: str) -> bool:
    """Whether a log message reaches the level that the client asked for."""
    params = message.get("params")
    theirs = params.get("level") if isinstance(params, dict) else None
    return bool(level) and theirs in _LEVELS and _LEVELS.index(theirs) >= _LEVELS.index(level)


def params_for_session(params: Json, token: int | None) -> Json:
    """A modern request's parameters as they are within a session. `token` replaces the client's progress token."""
    out = {name: value for name, value in params.items() if name not in _NOT_IN_SESSIONS}
    meta = {name: value for name, value in meta_of(params).items() if name not in _ENVELOPE}
    if "progressToken" in meta:
        meta["progressToken"] = token
    if meta:
        out["_meta"] = meta
    return out


def answer_of(message: Json, request_id: Any, method: str, params: Json, server_info: Any) -> Json:
    """A session's answer as the modern revision gives it."""
    out = {**message, "id": request_id}
    if isinstance(result := message.get("result"), dict):
        out["result"] = result_of(result, method, server_info)
    elif isinstance(error := message.get("error"), dict):
        out["error"] = _error_of(error, params)
    return out


def result_of(result: Json, method: str, server_info: Any) -> Json:
    out = {"resultType": "complete", **result}
    if method in _CACHEABLE:
        # A server that says nothing about keeping its answer must be asked again each time.
        out.setdefault("ttlMs", 0)
        out.setdefault("cacheScope", "private")
    if isinstance(server_info, dict):
        meta = result.get("_meta")
        out["_meta"] = {META_SERVER: server_info, **(meta if isinstance(meta, dict) else {})}
    return out


def description_of(welcome: Json) -> Json:
    """The result of `server/discover`, from the answer to `initialize`."""
    known = {"protocolVersion", "capabilities", "serverInfo"}
    result: Json = {name: value for name, value in welcome.items() if name not in known}
    capabilities = welcome.get("capabilities")
    result["supportedVersions"] = [FIRST_MODERN.decode()]
    result["capabilities"] = without_tasks(capabilities) if isinstance(capabilities, dict) else {}
    return result_of(result, "server/discover", welcome.get("serverInfo"))


def input_required(request_id: Any, asked: dict[str, Json], state: str, server_info: Any) -> Json:
    """The answer that asks the client for more and to come back with it."""
    requests = {
        key: {"method": request["method"], "params": _asked_params(request.get("params"))}
        for key, request in asked.items()
    }
    result: Json = {"resultType": "input_required", "inputRequests": requests, "requestState": state}
    if isinstance(server_info, dict):
        result["_meta"] = {META_SERVER: server_info}
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def visits_of(message: Json, capabilities: Json) -> dict[str, Json]:
    """What an error of 2025-11-25 asks its user to open in a browser before the request is sent again, as questions.

    Empty for any other answer, and when the client cannot be sent anywhere.
    """
    error = message.get("error")
    data = error.get("data") if isinstance(error, dict) and error.get("code") == _OLD_URL_NEEDED else None
    visits = data.get("elicitations") if isinstance(data, dict) else None
    if not isinstance(visits, list):
        return {}
    asked = [
        {"method": "elicitation/create", "params": {"mode": "url", **visit}}
        for visit in visits
        if isinstance(visit, dict)
    ]
    return {f"visit-{number}": each for number, each in enumerate(asked, 1) if can_be_asked(capabilities, each)}


def with_token(message: Json, token: Any) -> Json:
    """A progress notification under the client's own token."""
    return {**message, "params": {**message["params"], "progressToken": token}}


def with_subscription(message: Json, subscription: Any) -> Json:
    """A notification as it travels on a stream that was listened to."""
    params = message.get("params")
    out = dict(params) if isinstance(params, dict) else {}
    out["_meta"] = {**meta_of(out), META_SUBSCRIPTION: subscription}
    return {**message, "params": out}


def farewell(subscription: Any, server_info: Any = None) -> Json:
    """The answer that ends a stream of notifications in good order."""
    result = result_of({}, "subscriptions/listen", server_info)
    result["_meta"] = {**result.get("_meta", {}), META_SUBSCRIPTION: subscription}
    return {"jsonrpc": "2.0", "id": subscription, "result": result}


def _asked_params(params: Any) -> Any:
    if not isinstance(params, dict):
        return {}
    meta = meta_of(params)
    if "progressToken" not in meta:
        return params
    # There is no way back for progress of what the client does meanwhile.
    out = copy.copy(params)
    out["_meta"] = {name: value for name, value in meta.items() if name != "progressToken"}
    return out


def _error_of(error: Json, params: Json) -> Json:
    if error.get("code") == _OLD_URL_NEEDED:
        # Codes of that range say something else in the modern revision.
        return {**error, "code": _CAPABILITY_MISSING, "data": {"requiredCapabilities": {"elicitation": {"url": {}}}}}
    if error.get("code") != _OLD_NOT_FOUND:
        return error
    data = error.get("data")
    more = data if isinstance(data, dict) else {} if data is None else {"detail": data}
    return {**error, "code": INVALID_PARAMS, "data": {"uri": params.get("uri"), **more}}
