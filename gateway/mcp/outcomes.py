"""What an answer of a server means for the call: is it one, to this request, and did the tool succeed."""

from __future__ import annotations

from typing import Any

import orjson

from calls.record import Outcome
from gateway.context import CallContext
from gateway.mcp.errors import RefusedError
from gateway.mcp.sse import is_answer
from gateway.upstream.http1 import Reply

# Statuses of a server that say something to the client about its request. A 401 or 403 does not: it is about our credential.
_ABOUT_US = frozenset({401, 403, 407})
_PASSED_STATUSES = frozenset({400, 404, 405, 406, 410, 413, 415, 422, 429})


def note_status(call: CallContext, reply: Reply) -> None:
    """What the status line and headers say about the server itself."""
    call.status = reply.status
    if reply.status in {429, 503}:
        wait = reply.header(b"retry-after")
        call.retry_after_s = float(wait) if wait.isdigit() and len(wait) < 7 else 0.0


def judge_body(call: CallContext, status: int, is_json: bool, data: bytes) -> dict[str, Any]:
    """Note the outcome of a reply that is one document, and return what it says. Raises RefusedError when it is no answer."""
    if status in _ABOUT_US:
        raise not_an_answer(status, "the server refused us")
    if not is_json:
        raise not_an_answer(status, "the reply is not JSON")
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise not_an_answer(status, "the reply is not valid JSON") from exc
    if not isinstance(message, dict) or not is_answer(message):
        raise not_an_answer(status, "the reply is no JSON-RPC answer")
    # An error about a request that could not be read carries no id, or, from older servers, one of their own.
    if not is_answer_to(call, message) and not (status >= 400 and "error" in message):
        raise not_an_answer(status, "the reply answers another request")
    if status >= 300 and "error" not in message:
        raise not_an_answer(status, "a result with an error status")
    judge(call, message)
    return message


def judge(call: CallContext, message: dict[str, Any]) -> None:
    result = message.get("result")
    if isinstance(result, dict):
        call.outcome = Outcome.TOOL_ERROR if result.get("isError") is True else Outcome.OK
        # Whatever else a revision or an extension answers with: it is no result yet.
        call.is_complete = result.get("resultType", "complete") == "complete"
        if call.tasks is not None and (call.task_state is not None or not call.is_complete or "task" in result):
            call.tasks.note(call, result)
            if call.rounds is not None:
                call.rounds.note_round(call, result)
        return
    if "error" not in message:
        raise not_an_answer(200, "the result is not an object")
    call.outcome = Outcome.TOOL_ERROR
    error = message["error"]
    if isinstance(error, dict):
        call.error = f"rpc {error.get('code')}: {error.get('message')}"[:300]


def is_answer_to(call: CallContext, message: dict[str, Any]) -> bool:
    """Whether ids agree in value and type: 1, "1" and true are three ids."""
    ours, theirs = call.request_id, message.get("id")
    return type(ours) is type(theirs) and ours == theirs


def require_welcome(status: int) -> None:
    """Raises RefusedError where the server refused us ourselves, which is no answer to the caller."""
    if status == 401:
        raise not_an_answer(status, "the server refused us")


def not_an_answer(status: int, detail: str) -> RefusedError:
    if status == 401:
        return RefusedError("upstream.credential_rejected", detail=f"{detail} (HTTP {status})")
    refusal = RefusedError("upstream.failed", detail=f"{detail} (HTTP {status})")
    if status in _PASSED_STATUSES:
        # Clients tell the protocol's eras and lost sessions apart by these.
        refusal.status = status  # type: ignore[misc]
        refusal.message = f"The server answered with HTTP {status} and no message."
    return refusal
