"""Closed: a response reaches only the question that was put to its session.

Questions that a server puts to a client of an initialize-era revision while a request runs: the client's response is a request
of its own and may arrive at any gateway process. The id of a question names the process that waits.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from typing import Any

from gateway.bus import Bus, ProcessGoneError

Json = dict[str, Any]

_KIND = "question"
_MAX_WAITING = 20_000


class Question:
    """One that was put: its id, and the future of its response."""

    __slots__ = ("id", "response", "session")

    def __init__(self, question_id: str, session: str) -> None:
        self.id, self.session = question_id, session
        self.response: asyncio.Future[Json] = asyncio.get_running_loop().create_future()


class Questions:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: dict[str, Question] = {}
        bus.serve(_KIND, self._take_elsewhere)

    def put(self, session: str) -> Question:
        """A question to the client of a session; `drop` it in the end. Raises ProcessGoneError when too many wait."""
        if len(self._waiting) >= _MAX_WAITING:
            raise ProcessGoneError("Too many questions to clients wait for an answer.")
        question = Question(f"{self._bus.process}.{secrets.token_hex(8)}", session)
        self._waiting[question.id] = question
        return question

    def drop(self, question: Question) -> None:
        self._waiting.pop(question.id, None)
        question.response.cancel()

    async def answer(self, session: str, question_id: Any, response: Json) -> bool:
        """Hand a response to whoever waits; false when nobody does. Raises BusAwayError."""
        process = question_id.partition(".")[0] if isinstance(question_id, str) else ""
        if process in {"", self._bus.process}:
            return self._take(session, question_id, response)
        body = {"session": session, "id": question_id, "response": response}
        try:
            async for reply in self._bus.ask(process, _KIND, body):
                return bool(reply["taken"])
        except ProcessGoneError:
            pass
        return False

    async def _take_elsewhere(self, body: Json) -> AsyncGenerator[Json, None]:
        yield {"taken": self._take(body["session"], body["id"], body["response"])}

    def _take(self, session: str, question_id: Any, response: Json) -> bool:
        question = self._waiting.get(question_id) if isinstance(question_id, str) else None
        if question is None or question.session != session or question.response.done():
            return False
        question.response.set_result(response)
        return True
