"""Closed: a task is known to the key that started it and to nobody else, and its result costs what the call would have, once.

A call that a server answers with a task is decided as what it is, a call of that tool, and is not billed. Everything about the
task later is decided as that tool again, so that a grant that ended ends the task's questions too. The first answer that brings
the tool's result without an error bills it: beside the row of the request goes a row of the tool's call, whose id follows from
the call that started the task (`Task.bill_id`).
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from calls.record import CallRecord, Outcome
from core import ids
from gateway.admission import endpoints
from gateway.context import CallContext, Caller
from gateway.entries import Price, ServerEntry
from gateway.mcp import splice, sse, tasks, versions
from gateway.mcp.errors import RefusedError
from gateway.mcp.tasks import Task, TaskSeal, TaskState
from gateway.prices import price_of
from gateway.stages.authorise import authorise, decision_for
from gateway.upstream.http1 import UpstreamBrokenError

LISTEN = "subscriptions/listen"
MAX_TASKS = 256  # that one subscription hears of
_MAX_BILLED = 8192
_ONE = Decimal(1)


class Tasks:
    def __init__(self, key: bytes) -> None:
        self._seal = TaskSeal(key)
        # Tasks whose bill this process has written: the table would refuse another, and budgets must not count it.
        self._billed: OrderedDict[UUID, None] = OrderedDict()

    # Requests

    def find(self, caller: Caller, sealed: Any) -> Task | None:
        """The task of this caller that an id names, wherever it was started."""
        return self._seal.open(sealed, _owner(caller)) if isinstance(sealed, str) else None

    def open(self, call: CallContext, caller: Caller, server: ServerEntry) -> None:
        """Make the request one about the server's own task, by the tool that started it. Raises RefusedError."""
        message = call.message
        assert message is not None
        task = self.find(caller, message.params.get("taskId"))
        if task is None or not _fits(task, call, server):
            # Whoever may not use the server at all is told that, and nothing about tasks.
            authorise(call, caller, server, "ping", "")
            refusal = RefusedError("gateway.task_unknown")
            if not call.modern:
                refusal.status = 200  # type: ignore[misc]
            raise refusal
        own_id = endpoints.untie(task.own_id, call).decode()
        call.task_state, call.tool = TaskState({own_id: task}, task), task.tool
        if message.method in tasks.FETCHING:
            call.price = _cheaper(task.price, price_of(caller.tenant, server, task.tool, call.occurred_at))
        message.params = {**message.params, "taskId": own_id}
        if b"mcp-name" in call.headers:
            call.headers[b"mcp-name"] = versions.encode_header(own_id)
        if call.body:
            call.body = tasks.with_task_id(call.body.decode(), own_id).encode()

    def listen(self, call: CallContext, caller: Caller, server: ServerEntry) -> None:
        """Of the tasks that somebody wants to hear of, ask only for those that are theirs and may be asked about."""
        message = call.message
        assert message is not None
        wanted = message.params.get("notifications")
        if not isinstance(wanted, dict) or "taskIds" not in wanted:
            return
        asked = wanted["taskIds"] if isinstance(wanted["taskIds"], list) else ()
        found = [self.find(caller, sealed) for sealed in asked[:MAX_TASKS]]
        listened = {
            endpoints.untie(task.own_id, call).decode(): task
            for task in found
            if task is not None
            and (task.modern or not call.modern)
            and self.may_hear(caller, server, task, call.occurred_at)
        }
        call.task_state = TaskState(listened)
        message.params = {**message.params, "notifications": {**wanted, "taskIds": list(listened)}}
        if call.body:
            known = {task.sealed: own_id for own_id, task in listened.items()}
            call.body = tasks.with_listened(call.body.decode(), known).encode()

    def may_hear(self, caller: Caller, server: ServerEntry, task: Task, now: datetime) -> bool:
        """Whether the task is one of this server that the caller may ask about."""
        return (
            task.server_id == server.server_id
            and not task.is_over(now)
            and decision_for(caller, server, "tools/call", task.tool, now).allowed
        )

    # Answers

    def note(self, call: CallContext, result: dict[str, Any]) -> None:
        """What an answer means for the task: that there is one from here on, or that it has brought its result."""
        message = call.message
        assert message is not None
        if message.method == "tools/call":
            if (begun := tasks.begun_in(result)) is not None:
                self._begin(call, *begun)
        elif (state := call.task_state) is not None and message.method in tasks.FETCHING:
            found = tasks.result_in(message.method, result)
            if found is None:
                failed = message.method == "tasks/get" and result.get("status") == "failed"
            else:
                failed = found.get("isError") is True
                state.brings_result = not failed and found.get("resultType", "complete") == "complete"
            if failed:
                call.outcome = Outcome.TOOL_ERROR

    def _begin(self, call: CallContext, own_id: str, is_modern: bool) -> None:
        caller, server = call.caller, call.entry
        assert caller is not None
        if len(own_id.encode()) > tasks.MAX_OWN_LENGTH:
            raise UpstreamBrokenError("the id of the task is too long")
        call.is_complete = False
        task = Task(
            own_id=endpoints.tie(own_id.encode(), call),
            server_id=server.server_id,
            slug=server.slug,
            tool=call.tool,
            call_id=call.call_id,
            modern=is_modern,
            price=call.price,
        )
        task = replace(task, sealed=self._seal.seal(task, _owner(caller)))
        call.task_state = TaskState({own_id: task}, task)

    def bill(self, call: CallContext, record: CallRecord) -> CallRecord | None:
        """The row that bills the task whose result the call brings, unless this process has written it already."""
        state = call.task_state
        if state is None or not state.brings_result or call.outcome is not Outcome.OK:
            return None
        task = state.task
        assert task is not None
        if task.call_id in self._billed:
            return None
        self._billed[task.call_id] = None
        while len(self._billed) > _MAX_BILLED:
            self._billed.popitem(last=False)
        state.is_billed = True
        return replace(
            record,
            call_id=task.bill_id,
            alike=None,  # the row of the request shares other values
            occurred_at=ids.moment_of(task.call_id),
            method="tools/call",
            request_id=f"task of {task.call_id}",
            billable=True,
            quantity=_ONE,
            price=call.cost,
        )

    def both(self, call: CallContext, bill: asyncio.Future[None], own: asyncio.Future[None]) -> asyncio.Future[None]:
        """Done when both rows are; a bill that could not be written is written by a later answer."""
        state = call.task_state
        assert state is not None
        assert state.task is not None
        bill.add_done_callback(functools.partial(self._forget_failed, state.task.call_id))
        both: asyncio.Future[Any] = asyncio.gather(bill, own)
        return both

    def _forget_failed(self, call_id: UUID, bill: asyncio.Future[None]) -> None:
        if bill.cancelled() or bill.exception() is not None:
            self._billed.pop(call_id, None)

    def answer(self, call: CallContext, data: bytes) -> bytes:
        """The text of an answer under the ids that the client knows, and without an offer to list tasks."""
        assert call.message is not None
        try:
            text = data.decode()
            if call.message.method == "initialize":
                return tasks.without_list(text).encode()
            return tasks.with_ids(text, _known(call)).encode()
        except (UnicodeDecodeError, splice.UnreadableError) as exc:
            raise UpstreamBrokenError("the answer about a task is not usable") from exc

    def answer_event(self, call: CallContext, event: bytes) -> bytes:
        return _with_data(event, self.answer(call, sse.data_of(event)))

    def note_text(self, call: CallContext, message: dict[str, Any], data: bytes) -> bytes | None:
        """The text of a message before or without an answer; None when it must not reach the client."""
        method = message.get("method")
        state = call.task_state
        if state is None and method not in tasks.NOTIFICATIONS:
            return data
        if method in tasks.NOTIFICATIONS:
            task = None if state is None else state.ids.get(tasks.task_id_of(message) or "")
            # A result is fetched, decided and paid with `tasks/get`, and does not come for free with the news of it.
            if task is None or (_costs(task) and "result" in message["params"]):
                return None
        try:
            text = data.decode()
            if method == tasks.ACKNOWLEDGED:
                return tasks.with_listened(text, _known(call)).encode()
            return tasks.with_ids(text, _known(call), note=True).encode()
        except (UnicodeDecodeError, splice.UnreadableError) as exc:
            raise UpstreamBrokenError("a message about a task is not usable") from exc

    def note_event(self, call: CallContext, message: dict[str, Any] | None, event: bytes) -> bytes | None:
        """The same for an event of a stream."""
        if message is None or (call.task_state is None and message.get("method") not in tasks.NOTIFICATIONS):
            return event
        data = self.note_text(call, message, sse.data_of(event))
        return None if data is None else _with_data(event, data)


def _with_data(event: bytes, data: bytes) -> bytes:
    return event if data == sse.data_of(event) else sse.with_data(event, data)


def _owner(caller: Caller) -> str:
    return f"{caller.tenant.tenant_id}|{caller.key.api_key_id}{caller.on_behalf}"


def _fits(task: Task, call: CallContext, server: ServerEntry) -> bool:
    # A client of the later revision cannot ask about tasks of the older core: they answer in other words.
    return (
        task.server_id == server.server_id and not task.is_over(call.occurred_at) and (task.modern or not call.modern)
    )


def _known(call: CallContext) -> dict[str, str]:
    state = call.task_state
    return {} if state is None else {own_id: task.sealed for own_id, task in state.ids.items()}


def _costs(task: Task) -> bool:
    return task.price is not None and task.price.rate > 0


def _cheaper(then: Price | None, now: Price | None) -> Price | None:
    """Of the price at the start and the present one, which budgets reserve, the lower: nobody pays more than they were told."""
    if then is None or now is None or then.currency != now.currency:
        return None
    return then if then.rate <= now.rate else now
