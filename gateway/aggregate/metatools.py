"""The tools of our own at the aggregated endpoint: find a tool, read its definition, call it.

A model that is given these three needs no definition of any other tool before it wants to use it.
"""

from __future__ import annotations

from typing import Any

from gateway.mcp import lossless

Json = dict[str, Any]

SEARCH = "marketplace_search_tools"
DESCRIBE = "marketplace_describe_tool"
CALL = "marketplace_call_tool"
NAMES = frozenset({SEARCH, DESCRIBE, CALL})
DEFAULT_LIMIT, MAX_LIMIT = 10, 50

_READS = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
_NAME = {"type": "string", "description": "The tool's name as the search gives it, such as `github__create_issue`."}

DEFINITIONS: tuple[Json, ...] = (
    {
        "name": SEARCH,
        "title": "Search tools",
        "description": (
            "Find tools of all servers that you may use by what they do. Returns names with one line each, the best first. "
            f"Read a definition with {DESCRIBE}, call a tool with {CALL}."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "Words for what the tool should do. Empty lists all tools."},
                "server": {"type": "string", "description": "Only tools of this server."},
                "side_effect": {
                    "type": "string",
                    "enum": ["read", "write", "destructive"],
                    "description": "Only tools with this side effect.",
                },
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
            },
            "additionalProperties": False,
        },
        "annotations": _READS,
    },
    {
        "name": DESCRIBE,
        "title": "Describe a tool",
        "description": f"The full definition of one tool, with the schema of its arguments, as {SEARCH} named it.",
        "inputSchema": {
            "type": "object",
            "properties": {"name": _NAME},
            "required": ["name"],
            "additionalProperties": False,
        },
        "annotations": _READS,
    },
    {
        "name": CALL,
        "title": "Call a tool",
        "description": (
            f"Call a tool that {SEARCH} named, with arguments as {DESCRIBE} defines them. It is decided, recorded and charged "
            "like a call of that tool by itself, and its result is returned as it is."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": _NAME,
                "arguments": {"type": "object", "description": "The tool's arguments.", "additionalProperties": True},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True},
    },
)
SIZES: tuple[int, ...] = tuple(len(lossless.dumps(definition)) for definition in DEFINITIONS)


def complete(structured: Json, meta: Json) -> Json:
    """The result of one of these tools."""
    text = lossless.dumps(structured).decode()
    return {
        "resultType": "complete",
        "content": [{"type": "text", "text": text}],
        "structuredContent": structured,
        "isError": False,
        "_meta": meta,
    }


def failed(text: str, meta: Json) -> Json:
    """A result that tells the model what to correct."""
    return {"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": True, "_meta": meta}
