"""Closed: a server asks a client only what that client declared that it can answer.

A request of an older client, in as many rounds as the server needs: an answer that asks for input (`input_required`) becomes
questions on the client's stream, its responses go back with the next round. For the call log, the policy and the bill all
rounds are one call.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from gateway.config import Deadlines
from gateway.context import CallContext
from gateway.fronts.questions import Question, Questions
from gateway.fronts.stream import ClientStream
from gateway.mcp import lossless, sse
from gateway.mcp.errors import RefusedError
from gateway.mcp.session import OwnSession
from gateway.peers import Ask, Json, Peer

MAX_ROUNDS = 10
_MAX_QUESTIONS = 32
# A server that only wants to be asked again is asked after this.
_AGAIN_S = 1.0
_CAPABILITIES = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}


class Rounds:
    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def run(
        self,
        call: CallContext,
        peer: Peer,
        ask: Ask,
        session: OwnSession,
        stream: ClientStream,
        deadlines: Deadlines,
    ) -> Json:
        """The last round's answer. What comes before it goes to the client. Raises as `Peer.ask` does."""
        params = ask.params
        for _ in range(MAX_ROUNDS):
            call.watched.extend(deadlines.first_byte)
            answer = await self._one(call, peer, ask, stream)
            result = answer.get("result")
            if not isinstance(result, dict) or result.get("resultType") != "input_required":
                return answer
            # The client may take as long as the call may.
            call.watched.extend(deadlines.total)
            responses = await self._put(session, result.get("inputRequests"), stream)
            if "error" in responses:
                return responses
            ask = Ask(ask.request_id, ask.method, _next(params, responses["result"], result), ask.headers)
        raise RefusedError("upstream.failed", detail=f"the server asked for input more than {MAX_ROUNDS} times")

    async def _one(self, call: CallContext, peer: Peer, ask: Ask, stream: ClientStream) -> Json:
        async with contextlib.aclosing(peer.ask(call, ask)) as messages:
            async for message in messages:
                if sse.is_answer(message):
                    return message
                data: bytes | None = lossless.dumps(message)
                if call.tasks is not None:
                    data = call.tasks.note_text(call, message, lossless.dumps(message))
                if data is not None:
                    await stream.event(data)
        raise RefusedError("upstream.failed", detail="the server ended without an answer")

    async def _put(self, session: OwnSession, wanted: Any, stream: ClientStream) -> Json:
        """`result` with the responses by key, or the `error` of a client that refuses."""
        if not wanted:
            await asyncio.sleep(_AGAIN_S)
            return {"result": {}}
        _check(session, wanted)
        put: dict[str, Question] = {}
        try:
            for key, request in wanted.items():
                question = put[key] = self._questions.put(session.name)
                await stream.event(lossless.dumps(_request(question, request)))
            await asyncio.gather(*(question.response for question in put.values()))
            return _collect(wanted, {key: question.response.result() for key, question in put.items()})
        finally:
            for question in put.values():
                self._questions.drop(question)


def _check(session: OwnSession, wanted: Any) -> None:
    """Raises RefusedError for questions that this client cannot be asked."""
    if not isinstance(wanted, dict) or len(wanted) > _MAX_QUESTIONS:
        raise RefusedError("upstream.failed", detail="the input that the server asks for is not usable")
    for request in wanted.values():
        method = request.get("method") if isinstance(request, dict) else None
        if not _is_declared(session, method, request):
            raise RefusedError(
                "upstream.failed",
                "The server asks for input that this client did not declare.",
                detail=f"{str(method)[:64]!r} was not declared by the client",
            )


def _is_declared(session: OwnSession, method: Any, request: Any) -> bool:
    declared = session.capabilities.get(_CAPABILITIES.get(method, "")) if isinstance(method, str) else None
    if not isinstance(declared, dict):
        return False
    params = request.get("params")
    if method == "elicitation/create" and isinstance(params, dict):
        mode = params.get("mode", "form")
        # The first revision with elicitation knew no modes: an empty object means forms.
        return mode in declared or (mode == "form" and "url" not in declared)
    return True


def _request(question: Question, request: Json) -> Json:
    params = request.get("params")
    message: Json = {"jsonrpc": "2.0", "id": question.id, "method": request["method"]}
    if isinstance(params, dict):
        if params.get("mode") == "url" and "elicitationId" not in params:
            # Required until 2025-11-25, gone after it.
            params = {**params, "elicitationId": question.id}
        message["params"] = params
    return message


def _collect(wanted: Json, responses: dict[str, Json]) -> Json:
    results: Json = {}
    for key, response in responses.items():
        if "result" in response:
            results[key] = response["result"]
        elif wanted[key]["method"] == "elicitation/create":
            results[key] = {"action": "cancel"}
        else:
            # The modern revision has no words for a client's refusal here: the call ends with it.
            return {"error": response["error"]}
    return {"result": results}


def _next(params: Json, responses: Json, result: Json) -> Json:
    """The request of the next round."""
    following = {**params}
    if responses:
        following["inputResponses"] = responses
    if "requestState" in result:
        following["requestState"] = result["requestState"]
    return following
