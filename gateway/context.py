"""What is known of one call as it moves through the stages. Mutable and private to one request."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from access.approvals.types import CallAsk
from access.engine import find_session
from access.types import Decision, Labels, Principal, SessionRule
from calls.record import Alike, Outcome
from core import clock, ids
from gateway.circumstances import Circumstances, SessionUses
from gateway.entries import KeyEntry, Price, ServerEntry, TenantEntry
from gateway.mcp.messages import Message
from gateway.mcp.session import OwnSession
from gateway.watch import Watched

_now_ns: Final = time.perf_counter_ns
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_DENIED: Final = Outcome.DENIED
_FREE: Final = Decimal(0)

if TYPE_CHECKING:
    from gateway.admission.admission import Ticket
    from gateway.admission.plans import OwnPlan, Plan
    from gateway.mcp.tasks import TaskState
    from gateway.stages.approval import Approvals
    from gateway.stages.tasks import Tasks


class Common:
    """What calls of one caller share that name the same, as long as server, decision and price stay what they are."""

    __slots__ = ("alike", "constant", "decision", "price", "server", "values")

    def __init__(self, server: ServerEntry, decision: Decision, price: Price | None) -> None:
        self.server, self.decision, self.price = server, decision, price
        self.alike = Alike()
        self.constant = b""  # of their intents
        self.values: dict[str, Any] | None = None  # of their records, once there was one


class Route:
    """Where calls of one tool go, and what was found out for them on the way: kept by the caller.

    It stands for as long as the servers of that name are the same entries, until the next moment at which a grant or a price
    ends. Whatever depends on the caller's own entry goes with the caller.
    """

    __slots__ = ("commons", "decision", "identity", "plan", "price", "server", "servers", "until")

    def __init__(
        self,
        servers: tuple[ServerEntry, ...],
        server: ServerEntry,
        decision: Decision,
        price: Price | None,
        until: datetime | None,
        identity: Any,
    ) -> None:
        self.servers, self.server, self.decision, self.price, self.until = servers, server, decision, price, until
        self.identity = identity  # of gateway.upstream.credentials
        self.plan: Plan | None = None  # of admission
        self.commons: dict[str, Common] = {}  # by revision

    def stands(self, servers: tuple[ServerEntry, ...] | None, now: datetime) -> bool:
        return servers is self.servers and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class Asserted:
    """For whom a key that may say so calls: what its request says, and ids of the organisation where it knows them."""

    human: str = ""
    agent: str = ""
    team: str = ""
    is_member: bool = False  # whether the human is one, and then `human` their id

    @property
    def stranger(self) -> str:
        """The human as the request calls them, where the organisation has no such member."""
        return "" if self.is_member else self.human

    def digest(self) -> str:
        """Keeps apart what callers behind one key own: their sessions, their tasks, what is kept for them."""
        return "~" + hashlib.sha256(f"{self.human}\0{self.agent}\0{self.team}".encode()).hexdigest()[:32]

    def of_key(self, key: KeyEntry) -> KeyEntry:
        """The key as this caller's: neither its maker's accounts nor its agent's name are theirs."""
        return replace(key, user_id=UUID(self.human) if self.is_member else None, agent=self.agent)


NO_CIRCUMSTANCES = Circumstances()
_WITHIN_MAX = 256


class Caller:
    """A verified key with the tenant entry under which it was verified, and the decisions taken for it since."""

    __slots__ = (
        "address",
        "around",
        "asserted",
        "base",
        "behind",
        "callable_tools",
        "common",
        "credential",
        "decisions",
        "flows",
        "identities",
        "key",
        "on_behalf",
        "own_plan",
        "plans",
        "principal",
        "routes",
        "servers",
        "tenant",
        "uses",
        "within",
    )

    def __init__(
        self,
        tenant: TenantEntry,
        key: KeyEntry,
        *,
        credential: str = "key",
        servers: frozenset[str] | None = None,
        address: str = "",
        asserted: Asserted | None = None,
        base: Caller | None = None,
        around: Circumstances | None = None,
        uses: SessionUses | None = None,
    ) -> None:
        self.tenant, self.key = tenant, key if asserted is None else asserted.of_key(key)
        self.credential = credential  # key | oauth | token
        self.servers = servers  # names of those that a token was issued for; None: every one
        self.address = address  # what a token of ours says of where its person is
        self.asserted, self.base = asserted, base  # for whom a key calls, and the caller that is the key itself
        self.on_behalf = "" if asserted is None else asserted.digest()
        self.behind: dict[Asserted, Caller] = {}  # callers for whom the key itself was verified
        self.around, self.uses = around, uses  # what of its requests counts; None where nothing does
        self.within: dict[Circumstances, Caller] = {}  # the same caller in circumstances that count
        if asserted is None:
            team = str(key.team_id or "")
            self.principal = Principal(
                key_id=str(key.api_key_id),
                user_id=str(key.user_id or ""),
                agent=key.agent,
                team_ids=frozenset({team} if team else ()),
            )
        else:
            self.principal = Principal(
                key_id=str(key.api_key_id),
                user_id=asserted.human,
                agent=asserted.agent,
                team_ids=frozenset({asserted.team} if asserted.team else ()),
            )
        self.common: dict[tuple[str, ...], Common] = {}  # what calls have in common
        self.decisions: dict[tuple[UUID, str, str], tuple[ServerEntry, Decision, datetime | None]] = {}
        self.flows: dict[UUID, tuple[ServerEntry, Mapping[str, Labels]]] = {}  # labels that count, by server and tool
        self.identities: dict[UUID, Any] = {}  # as whom servers are called, of gateway.upstream.credentials
        self.callable_tools: dict[UUID, tuple[ServerEntry, frozenset[str], datetime | None]] = {}
        self.own_plan: OwnPlan | None = None  # of admission, for requests to no single server
        self.plans: dict[tuple[UUID, str], Plan] = {}  # of admission, by server and tool
        self.routes: dict[tuple[str, str, str], Route] = {}  # by interface, name of the server, and tool

    def under(self, tenant: TenantEntry, key: KeyEntry) -> Caller:
        """The same caller as a later entry of the organisation knows its key."""
        caller = Caller(
            tenant, key, credential=self.credential, servers=self.servers, around=self.around, uses=self.uses
        )
        if self.asserted is None or not key.asserts:
            return caller
        return caller.for_(self.asserted)

    def for_(self, asserted: Asserted) -> Caller:
        """The caller for whom this key, verified, calls."""
        return Caller(
            self.tenant,
            self.key,
            credential=self.credential,
            servers=self.servers,
            asserted=asserted,
            base=self,
            around=self.around,
            uses=self.uses,
        )

    def in_(self, around: Circumstances, uses: SessionUses) -> Caller:
        """This caller, the key itself, in circumstances that count; it keeps its own decisions."""
        if around == (self.around or NO_CIRCUMSTANCES):
            return self
        found = self.within.get(around)
        if found is None:
            if len(self.within) >= _WITHIN_MAX:
                self.within.clear()
            found = self.within[around] = Caller(
                self.tenant, self.key, credential=self.credential, servers=self.servers, around=around, uses=uses
            )
        return found

    def session_at(self, server: ServerEntry) -> SessionRule | None:
        """The session that its requests name at a server, live or not."""
        if self.around is None or not (name := self.around.session_in(server.policy.session.header)):
            return None
        policy = server.policy.towards(own=server.owner_tenant_id == self.tenant.tenant_id)
        return find_session(policy, self.tenant.sessions.get(server.server_id, ()), self.principal, name)

    def note_use(self, session_id: UUID | None, moment: datetime) -> None:
        """A session is in use at this moment."""
        if session_id is not None and self.uses is not None:
            self.uses.note(self.tenant.tenant_id, session_id, moment)


class CallContext:
    """Values that a call begins with are the class's; an instance holds what differs from them."""

    headers: dict[bytes, bytes]
    scope: Mapping[str, Any]  # of ASGI
    modern = False
    protocol = ""
    body = b""
    request_bytes = 0
    response_bytes = 0
    message: Message | None = None
    tool = ""
    arguments_digest = ""
    caller: Caller | None = None
    common: Common | None = None  # with other calls on the same route
    route: Route | None = None  # where the decision came from the caller's routes
    credential = ""  # key | oauth | token
    client_id = ""  # of an OAuth client
    upstream_auth = ""  # how we authenticated to the server
    upstream_protocol = ""  # the revision spoken with the server, where it is not the client's
    server: ServerEntry | None = None
    decision: Decision | None = None
    price: Price | None = None
    counted: Decimal | None = None  # what admission counts the call at, where its price depends on the calls before it
    session_id = ""  # what is stored: the seal, never the server's own id
    upstream_session = b""
    session: OwnSession | None = None  # of an initialize-era client, where the gateway keeps it
    approval: CallAsk | None = None  # that a person is asked for, where one approves the call
    approval_id: UUID | None = None  # what the call waits for, or passed by
    approval_declined = False  # the client's user wanted nothing of it
    rounds: Approvals | None = None  # who notes that an approved call has further rounds
    reason = ""  # why a stage other than the engine refused
    outcome: Outcome
    examine: Callable[[ServerEntry, Sequence[Any]], ServerEntry] | None = None  # holds tools against their pins
    status = 0
    error = ""
    attempts = 0
    upstream_ms = 0.0  # in all
    upstream_before_ms = 0.0  # in what was asked before the present request
    upstream_began_ns = 0
    is_complete = True  # false when the result asks for more input: such a round is not billed
    tasks: Tasks | None = None  # the stage, from the decision on
    task_state: TaskState | None = None  # once a task is known that messages may be about
    stream_started = False
    stream_listens = False  # a stream that ends when somebody leaves, not when an answer came
    url = ""  # the address that admission chose
    url_wanted = ""  # the one that a session lives at
    ticket: Ticket | None = None  # of admission
    retry_after_s = 0.0  # what the server asked for
    trace: tuple[str, str, str] | None = None  # gateway.tracing
    slot = -1  # of the intent (calls.intents)
    committed: asyncio.Future[None] | None = None

    def __init__(self, slug: str, interface: str, watched: Watched) -> None:
        self.watched = watched
        self.headers, self.scope, self.outcome = {}, _NOTHING, _DENIED
        self.call_id = ids.uuid7()
        self.call_id_text = str(self.call_id).encode()
        self.occurred_at = clock.now()
        self.started_ns = _now_ns()
        self.marks: list[tuple[str, int]] = []  # (step, perf_counter_ns at its end)
        self.interface, self.slug = interface, slug

    def mark(self, step: str) -> None:
        """Note that a step ends here: an identifier of few letters, shown in the trace of the call."""
        self.marks.append((step, _now_ns()))

    @property
    def entry(self) -> ServerEntry:
        """The server, once it is resolved."""
        assert self.server is not None
        return self.server

    @property
    def tenant_id(self) -> UUID:
        """Whose call it is, once the caller is known."""
        assert self.caller is not None
        return self.caller.tenant.tenant_id

    @property
    def elapsed_ms(self) -> float:
        return (time.perf_counter_ns() - self.started_ns) / 1_000_000

    @property
    def upstream_elapsed_ms(self) -> float:
        """How long the server has been asked for, the present request included."""
        began = self.upstream_began_ns
        return self.upstream_before_ms + (time.perf_counter_ns() - began) / 1_000_000 if began else 0.0

    def ask_upstream(self) -> None:
        """The server is asked from here on: of another era than before, its time adds up."""
        self.upstream_before_ms = self.upstream_ms
        self.upstream_began_ns = time.perf_counter_ns()

    def note_upstream(self) -> None:
        """Take the time that the server has needed so far, in all that it was asked for this call."""
        self.upstream_ms = self.upstream_elapsed_ms

    @property
    def request_id(self) -> Any:
        return self.message.request_id if self.message is not None else None

    @property
    def cost(self) -> Decimal:
        """What the call costs if it is billed, as far as is known while it runs; in major units of its price's currency."""
        if self.counted is not None:
            return self.counted
        return _FREE if self.price is None else self.price.rate

    @property
    def is_paid(self) -> bool:
        """Whether the call costs, by its own row or by the one that bills a task."""
        return self.is_billable or (self.task_state is not None and self.task_state.is_billed)

    @property
    def is_billable(self) -> bool:
        """Only a call of a server's tool that ran to a good end."""
        return (
            self.outcome is Outcome.OK
            and self.is_complete
            and self.server is not None
            and self.message is not None
            and self.message.method == "tools/call"
        )


def session_owner(call: CallContext) -> str:
    """Whose sessions the call may use: those of its tenant and key, with its server or with all of them together."""
    assert call.caller is not None
    server = call.server.server_id if call.server is not None else "*"
    return f"{call.caller.tenant.tenant_id}|{call.caller.key.api_key_id}|{server}{call.caller.on_behalf}"
