"""Between the two eras, as pure functions: what an older client says in modern terms, and what it is told of a modern server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.context import CallContext
from gateway.mcp import lossless, versions
from gateway.mcp import params as mirrored
from gateway.mcp.session import OwnSession
from gateway.peers import Ask, Json

# Features of a server that a session remembers.
TOOLS, PROMPTS, RESOURCES, SUBSCRIBE = "t", "p", "r", "s"
_CHANGES = {TOOLS: "toolsListChanged", PROMPTS: "promptsListChanged", RESOURCES: "resourcesListChanged"}
_MAX_WORD = 100


def meta_of(session: OwnSession, level: str, own: Json) -> Json:
    """The `_meta` that the modern revision wants, over what the client put there itself."""
    meta = {
        **own,
        versions.META_VERSION: versions.FIRST_MODERN.decode(),
        versions.META_CAPABILITIES: session.capabilities,
        versions.META_CLIENT: session.client,
    }
    return {**meta, versions.META_LOG_LEVEL: level} if level else meta


def modernise(call: CallContext, session: OwnSession, level: str) -> None:
    """Give the request what the modern revision wants in it, every digit kept. The client's bytes are not used after this."""
    message = call.message
    assert message is not None
    params = message.params
    if lossless.needs_care(call.body):
        params = lossless.loads(call.body)["params"]
    own = params.get("_meta")
    meta = meta_of(session, level, own if isinstance(own, dict) else {})
    message.params, call.body = {**params, "_meta": meta}, b""


def ask_of(call: CallContext) -> Ask:
    """A request that was modernised, as it is put to the server."""
    message = call.message
    assert message is not None
    headers = b""
    if call.server is not None and (places := call.server.param_headers.get(call.tool)) is not None:
        headers = mirrored.lines(places, message.params.get("arguments"))
    return Ask(call.request_id, message.method, message.params, headers)


def handshake_of(call: CallContext) -> Ask:
    """A client's `initialize`, as a request that an older server can be greeted with on its behalf."""
    assert call.message is not None
    params = call.message.params
    capabilities, client = _object(params.get("capabilities")), _object(params.get("clientInfo"))
    session = OwnSession("", versions.NEWEST_LEGACY, capabilities, short_client(client))
    return Ask(call.request_id, "server/discover", {"_meta": meta_of(session, "", {})})


def with_features(session: OwnSession, discovered: Json) -> OwnSession:
    """The session with what the server offers of things to listen for."""
    capabilities = _object(discovered.get("capabilities"))
    features = {
        letter
        for letter, name in ((TOOLS, "tools"), (PROMPTS, "prompts"), (RESOURCES, "resources"))
        if _object(capabilities.get(name)).get("listChanged") is True
    }
    if _object(capabilities.get("resources")).get("subscribe") is True:
        features.add(SUBSCRIBE)
    return replace(session, features=frozenset(features))


def welcome(session: OwnSession, discovered: Json, slug: str) -> Json:
    """The result of `initialize`, from the one of `server/discover`."""
    meta = _object(discovered.get("_meta"))
    info = _object(meta.get(versions.META_SERVER)) or {"name": slug or "mcp-marketplace", "version": "0"}
    result: Json = {
        "protocolVersion": session.version,
        "capabilities": _object(discovered.get("capabilities")),
        "serverInfo": {"version": "0", **info},
    }
    if isinstance(discovered.get("instructions"), str):
        result["instructions"] = discovered["instructions"]
    return result


def filter_of(session: OwnSession, uris: set[str]) -> Json:
    """What a listening client is to hear of: the parameter `notifications` of `subscriptions/listen`."""
    wanted: Json = {name: True for letter, name in _CHANGES.items() if letter in session.features}
    if uris:
        wanted["resourceSubscriptions"] = sorted(uris)
    return wanted


def without_subscription(message: Json) -> Json:
    """A notification as older clients know it."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    if not isinstance(params, dict) or not isinstance(meta, dict) or versions.META_SUBSCRIPTION not in meta:
        return message
    rest = {key: value for key, value in meta.items() if key != versions.META_SUBSCRIPTION}
    bare = {key: value for key, value in params.items() if key != "_meta"}
    return {**message, "params": {**bare, "_meta": rest} if rest else bare}


def short_client(client: Json) -> Json:
    """What a client says of itself, as much of it as fits into every request's session id."""
    if len(lossless.dumps(client)) <= 4 * _MAX_WORD:
        return client
    return {key: str(client.get(key, ""))[:_MAX_WORD] for key in ("name", "version")}


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
