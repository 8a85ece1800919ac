"""Closed: a list of tools shows what the caller may call; a list that cannot be cut cleanly is no answer.

What is kept is kept byte for byte: definitions that the caller may not use are cut out of the server's text. What depends on who
asks is nobody else's: `cacheScope` becomes private, also of a list that happens to be whole, and what was cut may be kept for
`TTL_MS` at most. Definitions that are not the approved ones close their tools first (`gateway.pins`). Lists of resources and
prompts have no rule per item: who may list sees them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from gateway.context import CallContext
from gateway.mcp import splice, sse
from gateway.stages.authorise import callable_tools
from gateway.upstream.http1 import UpstreamBrokenError

METHOD = "tools/list"
# How long a list that was cut for one caller may be kept by that caller: a grant that comes or goes shows after this.
TTL_MS = 30_000


def narrow(call: CallContext, message: dict[str, Any], data: bytes) -> bytes:
    """The text of an answer, `message`, with only what the caller may call. Raises UpstreamBrokenError."""
    tools = _tools_of(message)
    if tools is None:
        return data
    allowed = _allowed(call, tools)
    result = message["result"]
    if _is_open(tools, allowed) and result.get("cacheScope") != "public":
        return data
    try:
        return _cut(data.decode(), allowed).encode()
    except (UnicodeDecodeError, splice.UnreadableError) as exc:
        raise UpstreamBrokenError("the list of tools is not usable") from exc


def narrow_event(call: CallContext, message: dict[str, Any], event: bytes) -> bytes:
    """The same for an answer that travels as an event of a stream."""
    if _tools_of(message) is None:
        return event
    data = sse.data_of(event)
    narrowed = narrow(call, message, data)
    return event if narrowed == data else sse.with_data(event, narrowed)


def narrow_message(call: CallContext, message: dict[str, Any]) -> dict[str, Any]:
    """The same for an answer that was made by this side and has no text yet."""
    tools = _tools_of(message)
    if tools is None:
        return message
    allowed = _allowed(call, tools)
    kept = [tool for tool in tools if _is_allowed(tool, allowed)]
    result = {**message["result"], "tools": kept}
    if "cacheScope" in result or "ttlMs" in result:
        result["cacheScope"] = "private"
    if len(kept) != len(tools):
        result["ttlMs"] = _ttl(result.get("ttlMs"))
    return {**message, "result": result}


def is_list(call: CallContext) -> bool:
    """Whether the answer to this request has to be narrowed."""
    return call.message is None or call.message.method == METHOD


def _allowed(call: CallContext, tools: list[Any]) -> Collection[str]:
    assert call.caller is not None
    assert call.server is not None
    if call.examine is not None:
        call.server = call.examine(call.server, tools)
    return callable_tools(call.caller, call.server, call.occurred_at)


def _tools_of(message: dict[str, Any]) -> list[Any] | None:
    result = message.get("result")
    tools = result.get("tools") if isinstance(result, dict) else None
    return tools if isinstance(tools, list) else None


def _is_allowed(tool: Any, allowed: Collection[str]) -> bool:
    name = tool.get("name") if isinstance(tool, dict) else None
    return isinstance(name, str) and name in allowed


def _is_open(tools: list[Any], allowed: Collection[str]) -> bool:
    return all(_is_allowed(tool, allowed) for tool in tools)


def _ttl(theirs: Any) -> int:
    return min(theirs, TTL_MS) if isinstance(theirs, int) and not isinstance(theirs, bool) and theirs >= 0 else 0


def _cut(text: str, allowed: Collection[str]) -> str:
    result = splice.members(text)["result"]
    members = splice.members(text, result.start)
    tools = members["tools"]
    parts = splice.items(text, tools.start)
    kept = [text[part.start : part.end] for part in parts if _is_allowed(part.value, allowed)]
    changes: list[tuple[int, int, str]] = []
    if len(kept) != len(parts):
        changes.append((tools.start, tools.end, f"[{','.join(kept)}]"))
        if (ttl := members.get("ttlMs")) is not None:
            changes.append((ttl.start, ttl.end, orjson.dumps(_ttl(ttl.value)).decode()))
    if (scope := members.get("cacheScope")) is not None:
        changes.append((scope.start, scope.end, '"private"'))
    return splice.replace(text, changes)
