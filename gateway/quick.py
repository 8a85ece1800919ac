"""The way of a call for which everything is there: no task, no coroutine, and the same steps in the same order.

Nearly every call of a busy gateway comes on a connection and with a head that are known, goes a known route, waits for nothing
before its server is asked, and gets its answer at once and in one piece. Such a call is taken through the stages by plain calls:
one when its last byte has arrived, one when the server has answered, one when the row is committed. Closed: what is unusual
before anything was taken goes the ordinary way from its beginning; what becomes unusual later, a reply in pieces, another
status, a failure, or 50 ms without a reply, goes on there from the same point (`Pipeline.go_on`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from core import failpoints
from gateway import answers
from gateway.admission.admission import Ticket
from gateway.answers import HeaderList, Send
from gateway.config import GatewayConfig
from gateway.context import CallContext
from gateway.http import Cycle
from gateway.mcp import outcomes
from gateway.mcp.errors import RefusedError
from gateway.pipeline import SERVER, Parts, Pipeline
from gateway.stages import guard, meter
from gateway.stages.authenticate import digest_of
from gateway.stages.forward import forwarded
from gateway.upstream.client import Target
from gateway.upstream.http1 import Connection, UpstreamBrokenError
from gateway.upstream.wire import is_json

Receive = Callable[[], Awaitable[Any]]


class Quick:
    def __init__(self, config: GatewayConfig, parts: Parts, pipeline: Pipeline) -> None:
        self._config, self._limits, self._host_names = config, config.limits, config.host_names()
        self._authenticator, self._admission, self._intents = parts.authenticator, parts.admission, parts.intents
        self._watch, self._used = parts.watch, parts.used
        self.forwarder, self.writer, self.pipeline = parts.forwarder, parts.writer, pipeline
        self.reply_bytes = config.limits.reply_bytes
        self.taken = 0  # calls
        self.is_open = True  # false from the moment on that connections are to be closed after their answers

    def take(self, cycle: Cycle) -> bool:
        """Whether the request is on its way to its server; otherwise nothing has happened."""
        if not self.is_open or failpoints.armed:
            return False
        scope = cast("dict[str, Any]", cycle.scope)
        call = CallContext(scope[SERVER], "mcp", self._watch.request())
        try:
            target = self._prepare(call, cycle, scope)
        except RefusedError:
            # The ordinary way finds the same, and says it.
            return False
        if target is None:
            return False
        connection = target.pool.reusable()
        if connection is None:
            return False
        ticket = self._admission.admit_at_once(call)
        if ticket is None:
            target.pool.put_back(connection)
            return False
        self.taken += 1
        call.ticket = ticket
        call.mark("admit")
        QuickCall(self, call, cycle, ticket).ask(target, connection)
        return True

    def _prepare(self, call: CallContext, cycle: Cycle, scope: dict[str, Any]) -> Target | None:
        """Up to the decision; None where something is unusual. Raises RefusedError."""
        call.scope = scope
        head = cycle.head
        if head is None:
            return None
        headers = call.headers = head.headers.copy()
        if not head.digest:
            # The same bytes pass again, for as long as this process has these limits and names.
            guard.check(scope, self._limits, self._host_names)
            guard.check_json(headers)
            guard.check_accept(headers)
            head.digest = digest_of(headers)
        caller = call.caller = self._authenticator.recognise(call, head.digest)
        if caller is None or caller.key.asserts or b"x-request-timeout" in headers:
            return None
        call.mark("authenticate")
        body = cycle.body
        if len(body) > self._limits.request_bytes:
            return None
        call.body, call.request_bytes = bytes(body), len(body)
        call.mark("body")
        if not self.pipeline.is_plain_call(call) or not self._intents.is_at_once(call):
            return None
        call.mark("decide")
        self._used(call)
        return self.forwarder.known_modern(call)

    def note(self, call: CallContext) -> None:
        """Keep the intent. Raises RefusedError."""
        self._intents.note(call)

    def phase(self, call: CallContext, receive: Receive) -> None:
        """The server is asked from here on."""
        deadlines = self._config.deadlines
        call.ask_upstream()
        call.watched.phase(call.entry.timeout_s or deadlines.first_byte, receive, total=deadlines.total)


class QuickCall:
    """One such call, from its admission on."""

    __slots__ = ("_call", "_connection", "_cycle", "_data", "_more", "_quick", "_ticket")

    def __init__(self, quick: Quick, call: CallContext, cycle: Cycle, ticket: Ticket) -> None:
        self._quick, self._call, self._cycle, self._ticket = quick, call, cycle, ticket
        self._connection: Connection | None = None
        self._data = b""
        self._more: HeaderList = []

    def ask(self, target: Target, connection: Connection) -> None:
        """Keep the intent, and ask the server."""
        call, quick = self._call, self._quick
        self._cycle.whole_body()
        call.watched.begin(self.promote)
        try:
            quick.note(call)
            quick.phase(call, self._cycle.receive)
            call.attempts = 1
            head = self._cycle.head
            assert head is not None
            if not head.forwarded:
                head.forwarded = forwarded(call)
            request = quick.forwarder.post(target, call, head.forwarded)
        except Exception as exc:  # noqa: BLE001 - told on the ordinary way
            target.pool.put_back(connection)
            self._fail(exc)
            return
        self._connection = connection
        connection.ask(request, self._heard)

    def promote(self) -> None:
        """Go on as an ordinary call that waits for the server's reply."""
        connection = self._connection
        assert connection is not None
        under_way = connection.started()

        def rest(receive: Receive, send: Send) -> Awaitable[None]:
            return self._quick.forwarder.go_on(self._call, receive, send, connection, under_way)

        self._go_on(rest)

    def _heard(self, error: UpstreamBrokenError | None) -> None:
        """The server's reply has begun, and perhaps ended, or there will be none."""
        connection = self._connection
        assert connection is not None
        reply = connection.reply
        if error is not None or reply is None or not reply.complete or reply.status != 200 or not is_json(reply):
            self.promote()
            return
        call = self._call
        try:
            try:
                outcomes.note_status(call, reply)
                call.mark("first_byte")
                data = reply.whole(self._quick.reply_bytes)
            finally:
                reply.close()
                call.note_upstream()
            call.watched.settle()
            call.mark("reply")
            call.response_bytes = len(data)
            outcomes.judge_body(call, 200, True, data)
            if call.task_state is not None and call.tasks is not None:
                data = call.tasks.answer(call, data)
            self._data, self._more = data, self._quick.forwarder.passed_headers(call, reply)
            committed = meter.commit(call, self._quick.writer)
        except Exception as exc:  # noqa: BLE001 - told on the ordinary way
            self._fail(exc)
            return
        committed.add_done_callback(self._committed)

    def _committed(self, committed: asyncio.Future[None]) -> None:
        error = committed.exception()
        if error is not None:
            self._fail(error)
        elif answers.answer_at_once(self._call, self._cycle, 200, self._data, self._more):
            self._call.watched.end()
            self._ticket.settle(self._call)
        else:
            self._go_on(self._answer)

    def _answer(self, _receive: Receive, send: Send) -> Awaitable[None]:
        return answers.send_json(self._call, send, 200, self._data, more=self._more)

    def _fail(self, error: BaseException) -> None:
        async def rest(_receive: Receive, _send: Send) -> None:
            raise error

        self._go_on(rest)

    def _go_on(self, rest: Callable[[Receive, Send], Awaitable[None]]) -> None:
        call, ticket, pipeline = self._call, self._ticket, self._quick.pipeline
        call.watched.end()

        def application(_scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
            return pipeline.go_on(call, ticket, rest, receive, send)

        self._cycle.begin(application)
