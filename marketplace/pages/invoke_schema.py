"""`POST /v1/invoke` as OpenAPI 3.1, written by hand because the gateway has no framework to derive it from.

A test holds real answers and refusals against it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from calls.record import Outcome
from gateway.mcp.errors import KINDS

Json = dict[str, Any]

_STATUSES = {
    400: "The request or its arguments are wrong.",
    401: "No valid credential was sent.",
    402: "A spending cap is reached.",
    403: "Policy does not allow the call.",
    404: "There is no such server that the caller may see.",
    405: "Only POST is served.",
    408: "The body did not arrive in time.",
    413: "The request is too large.",
    415: "The body is not application/json.",
    421: "The gateway does not answer for that host.",
    429: "A rate or quota is reached; Retry-After says when to return.",
    500: "The gateway failed.",
    502: "The server failed.",
    503: "The call cannot be made or recorded at present; Retry-After says when to return.",
    504: "The server did not answer in time.",
}


def document(public_url: str) -> Json:
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Plain calls",
            "version": "1",
            "description": (
                "Call a tool of any MCP server that your key may use, without speaking the protocol. The call is decided, "
                "recorded and charged like one that came by MCP."
            ),
        },
        "servers": [{"url": public_url}],
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": {"/v1/invoke": {"post": _operation()}},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or an access token."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "schemas": {"Call": _call(), "Answer": _answer(), "Usage": _usage(), "Problem": _problem()},
            "headers": {
                "CallId": _header("The call's id, as the call log shows it.", {"type": "string", "format": "uuid"}),
                "RetryAfter": _header("Seconds until trying again makes sense.", {"type": "integer", "minimum": 0}),
            },
        },
    }


def _operation() -> Json:
    refusals = {str(status): _refusal(text) for status, text in _STATUSES.items()}
    answer = {
        "description": "The tool ran. `result.isError` tells whether it failed on its own terms.",
        "headers": {"X-Marketplace-Call-Id": {"$ref": "#/components/headers/CallId"}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}},
    }
    return {
        "operationId": "invoke",
        "summary": "Call a tool",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Call"}}},
        },
        "responses": {"200": answer, **refusals},
    }


def _refusal(text: str) -> Json:
    return {
        "description": text,
        "headers": {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _call() -> Json:
    return _object(
        {
            "server": {"type": "string", "minLength": 1, "description": "The server's name in the catalog."},
            "tool": {"type": "string", "minLength": 1, "description": "The tool's name at that server."},
            "arguments": {"type": "object", "default": {}, "description": "As the tool's input schema says."},
            "idempotency_key": {"type": "string", "description": "Reserved."},
        },
        required=("server", "tool"),
        additionalProperties=False,
    )


def _answer() -> Json:
    result = {
        "type": "object",
        "description": "The result of tools/call as the server gave it.",
        "properties": {
            "content": {"type": "array", "items": {"type": "object"}},
            "structuredContent": {"description": "As the tool's output schema says."},
            "isError": {"type": "boolean"},
        },
    }
    usage = {"$ref": "#/components/schemas/Usage"}
    return _object({"result": result, "usage": usage}, required=("result", "usage"), additionalProperties=False)


def _usage() -> Json:
    members = {
        "call_id": {"type": "string", "format": "uuid"},
        "server": {"type": "string"},
        "tool": {"type": "string"},
        "outcome": {"enum": [str(outcome) for outcome in Outcome]},
        "billable": {"type": "boolean"},
        "quantity": {"type": "integer", "enum": [0, 1]},
        "price": {"type": "string", "pattern": r"^\d+(\.\d+)?$", "description": "Exact, in units of the currency."},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "latency_ms": {"type": "number", "minimum": 0},
        "grant_id": {"type": ["string", "null"], "format": "uuid"},
        "decision": {"type": "string"},
    }
    return _object(members, required=tuple(members))


def _problem() -> Json:
    codes = ", ".join(f"`{code}`" for code in KINDS)
    return _object(
        {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "description": f"Stable. One of {codes}, or `access.<reason>`."},
            "next_step": {"type": "string", "description": "What to do about it."},
            "reason": {"type": "string", "description": "As stored with the call."},
            "call_id": {"type": "string", "format": "uuid"},
            "grant_id": {"type": "string", "format": "uuid"},
            "limit": {"type": "object", "description": "Which limit, how much is left, and when to return."},
            "retry_after_s": {"type": "number", "minimum": 0, "description": "As `Retry-After`, to the millisecond."},
            "upstream_code": {"type": ["integer", "null"], "description": "The server's own JSON-RPC error code."},
        },
        required=("type", "title", "status", "code", "next_step"),
    )


def _object(properties: Json, *, required: Iterable[str], **more: Any) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _header(text: str, schema: Json) -> Json:
    return {"description": text, "schema": schema}
