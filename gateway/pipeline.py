"""The path of a request through the stages, and the one place where a failure becomes an answer.

guard -> authenticate -> body -> read -> resolve -> authorise -> admit -> forward -> meter -> answer. The key is checked before
the body is read, so that strangers cost little. A stage refuses by raising; from the moment the caller and the message are
known, every refusal of a request is recorded like every other outcome.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from access.engine import ASKABLE, METHOD_RULES
from access.flow import Verdict
from access.types import APPROVAL, DEFAULT_SESSION_HEADER, FLOW, Decision, FlowMode, Reason
from calls.record import Outcome
from calls.writer import CallWriter, NotRecordedError
from core.egress import EgressRefusedError
from core.errors import MarketplaceError
from gateway import answers
from gateway.admission import endpoints
from gateway.admission.admission import Admission, Ticket
from gateway.aggregate import route
from gateway.aggregate.peer import Aggregate
from gateway.answers import Send
from gateway.audience import Audiences
from gateway.config import GatewayConfig
from gateway.context import CallContext, Caller, Route, session_owner
from gateway.entries import ServerEntry
from gateway.feed import Feed
from gateway.fronts.modern import ModernFront
from gateway.http import CYCLE
from gateway.mcp import lossless, messages, tasks, versions
from gateway.mcp import params as mirrored
from gateway.mcp.errors import RefusedError
from gateway.mcp.messages import ENDLESS, Message, Shape
from gateway.mcp.session import SessionSeal, is_own
from gateway.pins import Pins
from gateway.prices import changes_at, price_of
from gateway.review import Review
from gateway.stages import body, flow, guard, meter
from gateway.stages.approval import Approvals
from gateway.stages.authenticate import Authenticator, check_audience
from gateway.stages.authorise import authorise
from gateway.stages.dues import refuse_unpaid
from gateway.stages.flow import Flows
from gateway.stages.forward import Forwarder
from gateway.stages.identity import take as take_identity
from gateway.stages.intent import Intents
from gateway.stages.resolve import resolve
from gateway.stages.tasks import LISTEN, Tasks
from gateway.store import EntryStore, PolicyUnavailableError
from gateway.upstream.client import ServerBusyError
from gateway.upstream.http1 import UpstreamBrokenError
from gateway.watch import CancelledByClientError, ClientGoneError, Watch, WatchedTimeoutError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Scope = MutableMapping[str, Any]

log = logging.getLogger(__name__)

MAX_TOOL = 256
_MAX_ROUTES = 1024
_MAX_VERSION = 64  # bytes of a header that is worth keeping
SERVER = "marketplace.server"  # in a scope
TOO_LONG = f"The name of a tool has at most {MAX_TOOL} characters."

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a pipeline is put together from."""

    store: EntryStore
    feed: Feed
    authenticator: Authenticator
    admission: Admission
    forwarder: Forwarder
    writer: CallWriter
    intents: Intents
    watch: Watch
    seal: SessionSeal
    used: Callable[[CallContext], None]
    pins: Pins
    review: Review
    tasks: Tasks
    approvals: Approvals
    flows: Flows


class Pipeline:
    def __init__(self, config: GatewayConfig, parts: Parts) -> None:
        self._config, self._store, self._feed = config, parts.store, parts.feed
        self._authenticator, self._admission, self._forwarder = parts.authenticator, parts.admission, parts.forwarder
        self._writer, self._watch, self._seal, self._used = parts.writer, parts.watch, parts.seal, parts.used
        self._review = parts.review
        self._host_names, self._pins, self._intents = config.host_names(), parts.pins, parts.intents
        self._tasks, self._approvals, self._flows = parts.tasks, parts.approvals, parts.flows
        self._audiences = Audiences(config.public_url, config.paths)
        self._front = ModernFront(config, parts.writer)

    def mount(self, aggregate: Aggregate) -> None:
        """Serve all servers as one at `/mcp`."""
        self._aggregate = aggregate

    def handle_call(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """A POST whose path was looked at already: the server's name is in the scope."""
        return self.handle_mcp(scope, receive, send, scope[SERVER])

    async def handle_mcp(self, scope: Scope, receive: Receive, send: Send, slug: str) -> None:
        call = CallContext(slug, "mcp", self._watch.request())
        try:
            with call.watched:
                match scope["method"]:
                    case "POST":
                        await self._post(call, scope, receive, send)
                    case "GET" | "DELETE":
                        await self._legacy_stream(call, scope, receive, send)
                    case _:
                        raise RefusedError("gateway.method_not_allowed")
        except Exception as exc:  # noqa: BLE001 - the one translator: nothing leaves as a bare 500
            await self.answer_failure(call, exc, send)

    async def receive(self, call: CallContext, scope: Scope, receive: Receive) -> None:
        """Up to the body: headers checked, caller known, body read."""
        call.scope = scope
        headers = call.headers = guard.check(scope, self._config.limits, self._host_names)
        if call.interface != "token" or b"content-type" in headers:
            guard.check_json(headers)
        if call.interface == "mcp":
            guard.check_accept(headers)
        call.caller = self._authenticator.recognise(call) or await self._authenticator.authenticate(call)
        self._used(call)
        call.mark("authenticate")
        cycle = scope.get(CYCLE)
        data = cycle.whole_body() if cycle is not None else None
        if data is None:
            call.watched.phase(self._config.deadlines.request_body)
            data = await body.read(receive, headers, self._config.limits.request_bytes)
            call.watched.settle()
        elif len(data) > self._config.limits.request_bytes:
            raise body.too_large(self._config.limits.request_bytes)
        call.body, call.request_bytes = data, len(data)
        if wish := headers.get(b"x-request-timeout"):
            call.watched.end_within(guard.seconds(wish))
        call.mark("body")

    async def decide(self, call: CallContext, method: str, tool: str) -> None:
        """Find the server, refuse what is wrong with the message, and ask the policy engine."""
        if not self._is_current(call):
            await self._require_current(call)
        assert call.caller is not None
        if call.interface != "mcp":
            check_audience(call.caller, call.slug)
        if call.caller.key.asserts:
            await self._identify(call)
        if method == "tools/call" and self._is_on_known_route(call, call.caller, tool):
            call.mark("decide")
            return
        server = await resolve(call, call.caller, self._store)
        if server.policy.session.header != DEFAULT_SESSION_HEADER:
            # Not looked for in requests before the first entry that names it was read.
            call.caller = self._authenticator.place(call, call.caller)
        call.examine, call.tasks = self._pins.examine, self._tasks
        if call.message is not None and call.message.defect is not None:
            raise call.message.defect
        if call.interface == "mcp" and call.session is None:
            self._open_session(call)
        tool = self._note_subject(call, server, method, tool)
        await self._authorise(call, call.caller, server, method, tool)
        if call.message is not None and call.message.method in ENDLESS:
            self._tasks.listen(call, call.caller, server)
        await self._forwarder.credentials.ready(call)
        if method == "tools/call" and call.decision is not None and not call.decision.obligations:
            self._keep_route(call, server, tool)
        call.mark("decide")

    def _note_subject(self, call: CallContext, server: ServerEntry, method: str, tool: str) -> str:
        """What the request is about: a tool with its price, or the tool that started a task. Raises RefusedError."""
        assert call.caller is not None
        if method == "tools/call":
            call.price = price_of(call.caller.tenant, server, tool, call.occurred_at)
        elif method in tasks.METHODS:
            self._tasks.open(call, call.caller, server)
            return call.tool
        return tool

    async def _authorise(self, call: CallContext, caller: Caller, server: ServerEntry, method: str, tool: str) -> None:
        """Ask the policy engine, and note the use of a session. Raises RefusedError."""
        try:
            authorise(call, caller, server, method, tool)
        except RefusedError as refusal:
            if not await self._is_used_elsewhere(call, caller, refusal):
                raise
            authorise(call, caller, server, method, tool)
        if method == "tools/call":
            refuse_unpaid(call, caller, self._config.public_url)
        if caller.around is not None and call.decision is not None:
            caller.note_use(call.decision.session_id, call.occurred_at)
        if call.decision is not None and call.decision.obligations:
            await self._prepare(call, caller, server, tool, call.decision.obligations)

    async def _prepare(
        self, call: CallContext, caller: Caller, server: ServerEntry, tool: str, obligations: tuple[str, ...]
    ) -> None:
        """Get ready for what has to happen beside the call. Raises RefusedError."""
        if APPROVAL in obligations:
            await self._approvals.prepare(call, caller, server, tool)
            return
        rule, message = caller.tenant.flow, call.message
        if rule is None or rule.mode is not FlowMode.ESCALATE or message is None or message.method != "tools/call":
            return
        await self._approvals.expect(call, caller, server, lambda: self._meeting(call))

    async def _meeting(self, call: CallContext) -> tuple[str, ...]:
        """Labels that would meet in the session; empty where nobody would be asked."""
        found = await self._flows.take(call, peeks=True)
        return flow.meeting(call, found) if found.verdict is Verdict.ESCALATE else ()

    async def _fulfil(self, call: CallContext, obligations: tuple[str, ...]) -> None:
        """What has to happen beside an allowed call, when everything else is there for it to be sent. Raises RefusedError."""
        if FLOW not in obligations:
            await self._approvals.claim(call)
            return
        by_person = APPROVAL in obligations
        found = await self._flows.take(call, peeks=by_person)
        if not by_person and found.verdict is not Verdict.ESCALATE:
            flow.accept(call, found)
            return
        if found.verdict is Verdict.STOP or (call.message is not None and call.message.method != "tools/call"):
            # Nobody can be asked about what is no call of a tool.
            raise flow.refusal(call, found)
        self._ask_for(call, flow.meeting(call, found) if found.verdict is Verdict.ESCALATE else ())
        await self._approvals.claim(call)
        flow.accept(call, await self._flows.take(call, approved=True))

    def _ask_for(self, call: CallContext, met: tuple[str, ...]) -> None:
        """What a person is asked for, with what meets in the session at this moment."""
        caller = call.caller
        assert caller is not None
        if call.approval is None or call.approval.flow != met:
            self._approvals.note(call, caller, call.entry, call.tool, met)

    async def _is_used_elsewhere(self, call: CallContext, caller: Caller, refusal: RefusedError) -> bool:
        """Whether a session that nobody used here for too long was used through another process meanwhile."""
        decision = refusal.decision
        if decision is None or decision.reason is not Reason.SESSION_EXPIRED or decision.session_id is None:
            return False
        if caller.uses is None:
            return False
        moment = await self._store.last_use(caller.tenant.tenant_id, decision.session_id)
        known = caller.uses.last(decision.session_id)
        if moment is None or (known is not None and moment <= known):
            return False
        caller.uses.learn(decision.session_id, moment)
        return True

    async def _identify(self, call: CallContext) -> None:
        """Let the key say for whom this call is made, where the server takes it. Raises RefusedError."""
        assert call.caller is not None
        caller = call.caller.base or call.caller
        call.caller = take_identity(call, caller, await resolve(call, caller, self._store))

    def _is_on_known_route(self, call: CallContext, caller: Caller, tool: str) -> bool:
        """Whether the way of such calls is known and stands; then the call goes it. Raises RefusedError like `decide`."""
        route = caller.routes.get((call.interface, call.slug, tool))
        if route is None or not route.stands(self._store.find_servers(call.slug), call.occurred_at):
            return False
        if call.message is not None and call.message.defect is not None:
            return False
        call.server, call.url = route.server, route.server.url
        call.examine, call.tasks = self._pins.examine, self._tasks
        if call.interface == "mcp" and call.session is None and not call.modern:
            # Before the decision, as on the long way: whoever names a session that is not theirs was not allowed anything.
            self._open_session(call)
        call.route, call.price, call.decision = route, route.price, route.decision
        if caller.around is not None:
            caller.note_use(route.decision.session_id, call.occurred_at)
        call.upstream_auth = route.identity.name
        return True

    def _keep_route(self, call: CallContext, server: ServerEntry, tool: str) -> None:
        """Remember how the call came here, unless that may change without an entry that changes."""
        caller, servers = call.caller, self._store.find_servers(call.slug)
        assert caller is not None
        identity = caller.identities.get(server.server_id)
        decided = caller.decisions.get((server.server_id, "tools/call", tool))
        if servers is None or server not in servers or identity is None or decided is None or identity.ends:
            return
        if len(caller.routes) >= _MAX_ROUTES:
            caller.routes.clear()
        changes = (changes_at(caller.tenant, server, call.occurred_at), decided[2])
        until = min((moment for moment in changes if moment is not None), default=None)
        caller.routes[call.interface, call.slug, tool] = Route(servers, server, decided[1], call.price, until, identity)

    async def deliver(self, call: CallContext, relay: Callable[[], Awaitable[T]], *, listens: bool = False) -> T:
        """Admit, keep an intent, relay, settle: every request of every interface goes to a server through here.

        It comes after `decide`. `relay` talks to `call.url`, sets `call.outcome` and commits the row; what it raises is
        settled and passed on. `listens` marks a stream without a natural end. Raises RefusedError when the call is not admitted.
        """
        ticket = None if listens else self._admission.admit_at_once(call)
        if ticket is None:
            ticket = await self._admission.admit(call, listens=listens)
        call.ticket = ticket
        call.mark("admit")
        if listens:
            self._review.keep_looking(call, call.message.right if call.message is not None else LISTEN)
        try:
            if call.decision is not None and call.decision.obligations:
                await self._fulfil(call, call.decision.obligations)
            if (kept := self._intents.note(call)) is not None:
                await kept
            result = await relay()
        except BaseException as exc:
            ticket.settle(call, exc)
            raise
        ticket.settle(call)
        return result

    def is_plain_call(self, call: CallContext) -> bool:
        """Read the message; whether it is a call of a tool on a route that is known and asks for nothing else first.

        When it is not, nothing has happened that another look could not find out again. Raises RefusedError.
        """
        message = call.message = messages.read(call.body, self._config.limits.json_depth)
        self._note_version(call, message)
        if not call.slug or not call.modern or message.shape is not Shape.REQUEST or message.method != "tools/call":
            return False
        self._note_tool(call, message)
        caller = call.caller
        if message.defect is not None or caller is None or not self._is_current(call):
            return False
        if not self._is_on_known_route(call, caller, call.tool):
            return False
        decision = call.decision
        return decision is not None and not decision.obligations and call.tool not in call.entry.param_headers

    async def go_on(
        self,
        call: CallContext,
        ticket: Ticket,
        rest: Callable[[Receive, Send], Awaitable[None]],
        receive: Receive,
        send: Send,
    ) -> None:
        """The ordinary way of a call that came so far without one (`gateway.quick`): as in `deliver`, whatever happens."""
        try:
            with call.watched:
                try:
                    await rest(receive, send)
                except BaseException as exc:
                    ticket.settle(call, exc)
                    raise
                ticket.settle(call)
        except Exception as exc:  # noqa: BLE001 - the one translator, as for every other call
            await self.answer_failure(call, exc, send)

    async def deliver_own(self, call: CallContext, relay: Callable[[], Awaitable[T]], *, listens: bool = False) -> T:
        """The same for a request that is for all servers: it counts towards the limits of organisation and key."""
        admitted = await self._admission.admit_own(call, listens=listens)
        call.mark("admit")
        if listens:
            self._review.keep_looking(call, LISTEN)
        try:
            return await relay()
        finally:
            admitted.give()

    async def _decide_own(self, call: CallContext, method: str) -> None:
        """Decide a request that is about no server: whoever may call servers may ask which, and sees only those."""
        await self._require_current(call)
        assert call.caller is not None
        assert call.message is not None
        if call.message.defect is not None:
            raise call.message.defect
        if "invoke" not in call.caller.key.scopes:
            raise RefusedError("access.scope_missing")
        if method not in METHOD_RULES:
            raise RefusedError("access.method_unknown")
        call.decision = Decision(True, Reason.ALLOWED, "Shows only what the caller may use.")
        call.mark("decide")

    def _is_current(self, call: CallContext) -> bool:
        caller = call.caller
        return (
            caller is not None
            and self._feed.is_current()
            and caller.tenant is self._store.find_tenant(caller.key.key_id)
        )

    async def _require_current(self, call: CallContext) -> None:
        """Raises PolicyUnavailableError while entries may be stale, RefusedError when the key has gone meanwhile."""
        assert call.caller is not None
        if not self._feed.is_current():
            raise PolicyUnavailableError
        if call.caller.tenant is not self._store.find_tenant(call.caller.key.key_id):
            # The body took its time, and the key or its grants changed meanwhile: whoever holds a body back gains nothing.
            call.caller = await self._authenticator.authenticate(call)

    async def answer_failure(self, call: CallContext, exc: Exception, send: Send) -> None:
        """Record what is to be recorded, then say what happened in the words of the interface."""
        if isinstance(exc, ClientGoneError) and call.message is None:
            return
        refusal = translate(exc)
        if isinstance(exc, WatchedTimeoutError) and call.message is None:
            refusal = RefusedError("gateway.body_timeout")
        if refusal.error_code == "upstream.failed" and call.retry_after_s:
            refusal.later(
                call.retry_after_s
            )  # the server's own word, where its answer was none that could be passed on
        refusal.challenge = self._audiences.challenge(call, refusal)
        if refusal.decision is not None and call.caller is not None:
            refusal.data |= self._way_to_ask(call, call.caller, refusal.decision)
        is_over = isinstance(exc, ClientGoneError | WatchedTimeoutError) and _has_listened(call)
        if refusal.error_code == "gateway.internal":
            log.error("gateway failed", exc_info=exc, extra={"call_id": call.call_id_text.decode()})
        self._forwarder.credentials.note_failure(call, refusal)
        if self._is_recorded(call):
            if is_over:
                call.outcome = Outcome.OK
            elif call.committed is None:
                meter.refuse(call, refusal)
            try:
                await meter.commit(call, self._writer)
            except NotRecordedError as failure:
                refusal = translate(failure)
        await self._say(call, exc, None if is_over else refusal, send)

    def _way_to_ask(self, call: CallContext, caller: Caller, decision: Decision) -> dict[str, Any]:
        """The page on which a person asks for what the call lacked, filled in; empty where asking helps nothing."""
        if decision.reason not in ASKABLE:
            return {}
        asked = {
            "server": call.slug,
            "tool": call.tool,
            "trust": decision.trust_required,
            "effect": decision.side_effect,
            "agent": caller.principal.agent,
        }
        query = urlencode({name: value for name, value in asked.items() if value})
        return {"request_url": f"{self._config.public_url}/o/{caller.tenant.slug}/access/request/?{query}"}

    async def _say(self, call: CallContext, exc: Exception, refusal: RefusedError | None, send: Send) -> None:
        if isinstance(exc, CancelledByClientError):
            # No answer is due; the stream ends without one.
            if not call.stream_started:
                await answers.start_stream(call, send, [])
            await answers.send_event(call, b"", last=True)
        elif isinstance(exc, ClientGoneError):
            return
        elif call.stream_started or refusal is None:
            await self._forwarder.end_stream(call, send, refusal)
        else:
            await answers.send_refusal(call, send, refusal, _status_for(call, refusal))

    async def _post(self, call: CallContext, scope: Scope, receive: Receive, send: Send) -> None:
        await self.receive(call, scope, receive)
        message = call.message = messages.read(call.body, self._config.limits.json_depth)
        self._note_version(call, message)
        if not call.slug:
            await self._post_to_all(call, message, receive, send)
            return
        if message.shape is not Shape.REQUEST:
            # Any live grant lets the conversation about granted calls go on.
            await self.decide(call, "ping", "")
            await self._admission.admit_message(call)
            await self._forwarder.relay_message(call, send)
            return
        self._note_tool(call, message)
        await self.decide(call, message.right, call.tool)
        if call.modern and message.method == "tools/call":
            _check_arguments(call, message)
        await self.deliver(
            call, lambda: self._forwarder.relay_request(call, receive, send), listens=message.method in ENDLESS
        )

    async def _post_to_all(self, call: CallContext, message: Message, receive: Receive, send: Send) -> None:
        """All servers as one. A request that names something of a server is from here on a request to that server."""
        if not call.modern:
            await self._require_current(call)
            self._open_session(call)
        if message.shape is not Shape.REQUEST:
            await self._take_for_all(call, message, send)
            return
        self._note_tool(call, message)
        if not call.modern and message.defect is None:
            await self._forwarder.legacy.modernise(call)
        if await self._aggregate.router.route(call):
            assert call.message is not None
            self._note_tool(call, call.message)
            await self.decide(call, message.method, call.tool)
            if call.modern and message.method == "tools/call" and not route.is_inner(call):
                _check_arguments(call, call.message)
            await self.deliver(call, lambda: self._relay_to_all(call, receive, send))
        else:
            await self._decide_own(call, message.method)
            await self.deliver_own(
                call, lambda: self._relay_to_all(call, receive, send), listens=message.method in ENDLESS
            )

    async def _relay_to_all(self, call: CallContext, receive: Receive, send: Send) -> None:
        if call.modern:
            await self._front.relay(call, self._aggregate, receive, send)
        else:
            await self._forwarder.legacy.relay(call, self._aggregate, send)

    async def _take_for_all(self, call: CallContext, message: Message, send: Send) -> None:
        """A notification or a response, which only a session can be interested in."""
        if message.defect is not None:
            raise message.defect
        await self._require_current(call)
        await self._admission.admit_message(call)
        if call.modern:
            await answers.send_bytes(call, send, 202, b"", [])
        else:
            await self._forwarder.legacy.take(call, send)

    async def _legacy_stream(self, call: CallContext, scope: Scope, receive: Receive, send: Send) -> None:
        call.scope = scope
        headers = call.headers = guard.check(scope, self._config.limits, self._host_names)
        call.caller = await self._authenticator.authenticate(call)
        self._used(call)
        if versions.is_modern(headers.get(b"mcp-protocol-version", b"").strip()):
            raise RefusedError("gateway.method_not_allowed")
        if scope["method"] == "GET" and b"text/event-stream" not in guard.accepted_types(headers.get(b"accept", b"")):
            raise RefusedError("gateway.not_acceptable", "Accept text/event-stream.")
        if not call.slug:
            await self._stream_of_all(call, scope, receive, send)
            return
        await self.decide(call, "ping", "")
        if scope["method"] == "DELETE":
            await self._admission.admit_message(call)
            await self._forwarder.relay_delete(call, send)
        else:
            await self.deliver(call, lambda: self._forwarder.relay_listen(call, receive, send), listens=True)

    async def _stream_of_all(self, call: CallContext, scope: Scope, receive: Receive, send: Send) -> None:
        await self._require_current(call)
        assert call.caller is not None
        if "invoke" not in call.caller.key.scopes:
            raise RefusedError("access.scope_missing")
        self._open_session(call)
        if scope["method"] == "DELETE":
            await self._admission.admit_message(call)
            await self._forwarder.legacy.end(call, send)
        else:
            legacy = self._forwarder.legacy
            await self.deliver_own(call, lambda: legacy.listen(call, self._aggregate, receive, send), listens=True)

    def _note_version(self, call: CallContext, message: Message) -> None:
        version = call.headers.get(b"mcp-protocol-version", b"")
        call.modern, call.protocol = (
            versions.era_of(version) if len(version) <= _MAX_VERSION else versions.era_of.__wrapped__(version)
        )
        if call.modern:
            message.defect = message.defect or versions.check_modern(message, call.headers)
        elif message.method == "initialize":
            call.protocol = str(message.params.get("protocolVersion", ""))[:32]

    @staticmethod
    def _note_tool(call: CallContext, message: Message) -> None:
        if message.method == "tools/call":
            name = message.name or ""
            if len(name) > MAX_TOOL:
                # Decided on a part of it, a longer name would pass for a shorter one.
                message.defect = message.defect or RefusedError("gateway.params_invalid", TOO_LONG)
            call.tool = name[:MAX_TOOL]
            call.arguments_digest = digest_of(message.params.get("arguments"))

    def _open_session(self, call: CallContext) -> None:
        """Legacy only: turn the client's sealed session id into the server's own."""
        sealed = call.headers.get(b"mcp-session-id")
        if sealed is None or call.modern:
            return
        sealed = sealed.strip()
        if is_own(sealed):
            self._forwarder.legacy.open(call)
            return
        upstream_id = self._seal.unseal(sealed, session_owner(call))
        if upstream_id is None:
            raise RefusedError("gateway.session_unknown")
        call.upstream_session = endpoints.untie(upstream_id, call)
        call.session_id = sealed.rpartition(b".")[2].decode("latin-1")

    @staticmethod
    def _is_recorded(call: CallContext) -> bool:
        return call.caller is not None and call.message is not None and call.message.shape is Shape.REQUEST


def _has_listened(call: CallContext) -> bool:
    """Whether this was a stream without a natural end, which a leaving client or its greatest age ends as well as anything."""
    return call.stream_started and (call.message is None or call.message.method in ENDLESS)


def _check_arguments(call: CallContext, message: Message) -> None:
    """Raises RefusedError when headers that mirror arguments say something else than the body."""
    places = call.entry.param_headers.get(call.tool)
    if places:
        params = lossless.loads(call.body)["params"] if lossless.needs_care(call.body) else message.params
        mirrored.check(places, params.get("arguments"), call.headers)


def digest_of(arguments: Any) -> str:
    """SHA-256 over the arguments in canonical order: tells whether two calls asked the same, without keeping what."""
    return hashlib.sha256(lossless.canonical(arguments)).hexdigest() if arguments else ""


def translate(exc: BaseException) -> RefusedError:
    """Any failure as a refusal of the table."""
    match exc:
        case RefusedError():
            return exc
        case ClientGoneError():
            return RefusedError("upstream.cancelled")
        case WatchedTimeoutError():
            return RefusedError("upstream.timeout")
        case UpstreamBrokenError():
            return RefusedError(exc.code, detail=str(exc))
        case ServerBusyError():
            return RefusedError("upstream.busy")
        case EgressRefusedError():
            return RefusedError("upstream.refused", detail=exc.message)
        case NotRecordedError():
            return RefusedError("calls.not_recorded")
        case PolicyUnavailableError():
            return RefusedError("access.policy_unavailable")
        case MarketplaceError():
            return RefusedError("upstream.failed", detail=exc.message)
        case _:
            return RefusedError("gateway.internal", detail=type(exc).__name__)


def _status_for(call: CallContext, refusal: RefusedError) -> int:
    """Legacy clients drop the session on most error statuses, so a decision about a request reaches them as a message."""
    if refusal.challenge and call.credential == "oauth":
        return refusal.status  # the client is to ask for more
    is_request = call.message is not None and call.message.shape is Shape.REQUEST
    if call.interface == "mcp" and is_request and not call.modern and refusal.status == refusal.kind.status:
        is_decision = refusal.kind.reason is not None or refusal.decision is not None
        if (is_decision or refusal.kind.code.startswith("upstream.")) and refusal.status in {
            402,
            403,
            404,
            429,
            502,
            504,
        }:
            return 200
    return refusal.status
