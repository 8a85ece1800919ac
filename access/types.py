"""The values that a policy decision takes and gives: plain, immutable, free of Django.

They are compiled by the control plane (`access.snapshot`), travel as JSON, and are held in memory by every gateway process.
Ranks and reason strings follow the MCP Runtime evaluator, so that its users find the words they know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID


class Trust(IntEnum):
    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @classmethod
    def parse(cls, text: str | None) -> Trust:
        """Unknown text counts as low, the least that a grant can give."""
        return {"low": cls.LOW, "medium": cls.MEDIUM, "high": cls.HIGH}.get((text or "").lower(), cls.LOW)

    @property
    def word(self) -> str:
        return self.name.lower()


class SideEffect(StrEnum):
    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"

    # Sets of them are asked for every grant of a decision.
    __hash__ = str.__hash__


class SubjectKind(StrEnum):
    USER = "user"
    AGENT = "agent"
    TEAM = "team"
    KEY = "key"
    ORGANISATION = "organisation"  # everybody and everything of the organisation


class PolicyMode(StrEnum):
    ALLOW_LIST = "allow-list"
    OBSERVE = "observe"


class EnforceOn(StrEnum):
    """On which methods trust and side effects are held against grants."""

    ALL = "all"
    CALL_TOOL = "call_tool"  # tool calls; whatever else a server offers is open to whoever has a live grant


class Compat(StrEnum):
    """Whose reading of a policy counts where ours is stricter (requirements C6)."""

    STRICT = "strict"
    MCP_RUNTIME = "mcp-runtime"


class Reason(StrEnum):
    """Why a decision fell as it did; stored with every call."""

    ALLOWED = "allowed"
    OBSERVED = "observed"
    MISSING_IDENTITY = "missing_identity"
    MISSING_SESSION = "missing_session"
    SESSION_NOT_FOUND = "session_not_found"
    SESSION_REVOKED = "session_revoked"
    SESSION_EXPIRED = "session_expired"
    NO_MATCHING_GRANT = "no_matching_grant"
    GRANT_EXPIRED = "grant_expired"
    GRANT_REVOKED = "grant_revoked"
    TOOL_UNKNOWN = "tool_unknown"
    TOOL_QUARANTINED = "tool_quarantined"
    CONDITION_NOT_MET = "condition_not_met"
    TOOL_DENIED = "tool_denied"
    TOOL_NOT_GRANTED = "tool_not_granted"
    ARGUMENTS_NOT_ALLOWED = "arguments_not_allowed"
    TOOL_SIDE_EFFECT_UNKNOWN = "tool_side_effect_unknown"
    SIDE_EFFECT_NOT_ALLOWED = "side_effect_not_allowed"
    TRUST_TOO_LOW = "trust_too_low"
    METHOD_UNKNOWN = "method_unknown"
    SCOPE_MISSING = "scope_missing"
    SERVER_UNKNOWN = "server_unknown"
    SERVER_NOT_IN_KEY = "server_not_in_key"
    SERVER_NOT_READY = "server_not_ready"
    REQUEST_INVALID = "request_invalid"
    POLICY_UNAVAILABLE = "policy_unavailable"
    TOO_MANY_AT_ONCE = "too_many_at_once"
    RATE_LIMITED = "rate_limited"
    QUOTA_REACHED = "quota_reached"
    CAP_REACHED = "spending_cap_reached"
    PAYMENT_DUE = "payment_due"
    LIMITS_UNAVAILABLE = "limits_unavailable"
    RECORD_UNAVAILABLE = "record_unavailable"
    CREDENTIAL_MISSING = "credential_missing"
    ACCOUNT_NOT_CONNECTED = "account_not_connected"
    APPROVAL_REQUIRED = "approval_required"
    APPROVAL_REJECTED = "approval_rejected"
    FLOW_FORBIDDEN = "flow_forbidden"
    FLOW_OBSERVED = "flow_observed"


# Obligations of a decision: what has to happen beside an allowed call.
APPROVAL = "approval"  # a person approves this very call
FLOW = "flow"  # its labels are held against what its session has touched (`access.flow`)


class FlowLabel(StrEnum):
    """What a tool brings into a session or lets out of it."""

    UNTRUSTED_INPUT = "untrusted_input"  # returns text that strangers may have written
    PRIVATE_DATA = "private_data"  # returns what is not for everybody
    EXTERNAL_OUTPUT = "external_output"  # can carry something to others

    __hash__ = str.__hash__


Labels = frozenset[FlowLabel]
NO_LABELS: Labels = frozenset()
READS = ""  # in place of a tool's name: the resources and prompts of a server


class FlowMode(StrEnum):
    """What happens to a call that would complete a forbidden combination."""

    OFF = "off"
    OBSERVE = "observe"  # it passes, and is recorded as such
    ESCALATE = "escalate"  # a person approves that single call
    STOP = "stop"


class FlowScope(StrEnum):
    """Which calls make one session."""

    CALLER = "caller"  # everything of one key, and of whom it acts for
    SESSION = "session"  # what names a session of an agent, or runs in a session of the protocol; else the caller


@dataclass(frozen=True, slots=True)
class FlowRule:
    """Which labels must not meet in one session of an organisation."""

    mode: FlowMode = FlowMode.ESCALATE
    forbidden: tuple[Labels, ...] = (frozenset(FlowLabel),)
    scope: FlowScope = FlowScope.CALLER
    window_s: int = 3_600  # a session ends when nothing labelled was called for so long
    counts_suggested: bool = False  # tools that nobody labelled carry what is suggested for them
    exempt_agents: frozenset[str] = frozenset()
    exempt_grants: frozenset[UUID] = frozenset()
    epoch: str = ""  # changes with the rule; a session belongs to one


@dataclass(frozen=True, slots=True)
class ToolLabels:
    """What an organisation says of a tool for its own calls. `definition` is the digest of what it looked at."""

    labels: Labels
    definition: str = ""


@dataclass(frozen=True, slots=True)
class ToolRule:
    """What a server version's tool needs."""

    name: str
    required_trust: Trust
    side_effect: SideEffect | None
    digest: str = ""  # of the approved definition (`catalog.digests.of_tool`); empty when it is not known
    idempotent: bool = False  # calling it twice does no more than calling it once, as its approved definition says
    quarantined: bool = False  # the server's definition differs from the approved one
    risk: str = ""  # low | medium | high where it is declared; informs, decides nothing
    needs_approval: bool = False  # the calling organisation wants a person to approve each call
    labels: Labels | None = None  # as its provider or an operator confirmed them; None: nobody has
    suggested: Labels = NO_LABELS  # as its definition makes likely

    @property
    def risk_level(self) -> str:
        """The declared risk, else the one that follows from trust and side effect; empty when there is no telling."""
        if self.risk in {"low", "medium", "high"}:
            return self.risk
        if self.side_effect is SideEffect.DESTRUCTIVE or self.required_trust is Trust.HIGH:
            return "high"
        if self.side_effect is SideEffect.WRITE or self.required_trust is Trust.MEDIUM:
            return "medium"
        return "low" if self.side_effect is SideEffect.READ else ""


@dataclass(frozen=True, slots=True)
class ToolGuard:
    """What an organisation asks of its own calls of one tool, beside grants."""

    needs_approval: bool = False


DEFAULT_SESSION_HEADER = "X-MCP-Agent-Session"


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """What a server's policy asks of the sessions of agents."""

    required: bool = False
    header: str = DEFAULT_SESSION_HEADER  # in which callers name their session
    max_lifetime_s: int = 86_400  # from its issue
    idle_timeout_s: int = 3_600  # from its last use


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """The policy side of a catalog entry."""

    server_id: UUID
    mode: PolicyMode
    required_trust: Trust
    tools: Mapping[str, ToolRule]
    allows_by_default: bool = False
    enforce_on: EnforceOn = EnforceOn.ALL
    compat: Compat = Compat.STRICT
    policy_version: str = "v1"
    team: str = ""  # of the owner
    session: SessionTerms = SessionTerms()
    reads: Labels | None = None  # labels of its resources and prompts; None: nobody has confirmed any
    flows: Mapping[str, Labels] = field(default_factory=dict)  # by tool, as they count for the calling organisation

    def guarded(self, guards: Mapping[str, ToolGuard] | None) -> ServerPolicy:
        """The policy with what the calling organisation asks beside it; it only ever adds."""
        if not guards:
            return self
        tools = dict(self.tools)
        for name in guards.keys() & tools.keys():
            tools[name] = replace(tools[name], needs_approval=guards[name].needs_approval)
        return replace(self, tools=tools)

    def towards(self, *, own: bool) -> ServerPolicy:
        """The policy for callers of the owner (`own`) or of another organisation.

        Observing, allowing by default and the lenient readings are for the owner's own agents. Whether others may call is for
        their own grants to say: a provider must not switch off another organisation's access rules and be paid for what passes.
        """
        is_lenient = self.mode is not PolicyMode.ALLOW_LIST or self.allows_by_default
        if own or not (is_lenient or self.compat is not Compat.STRICT or self.enforce_on is not EnforceOn.ALL):
            return self
        return replace(
            self,
            mode=PolicyMode.ALLOW_LIST,
            allows_by_default=False,
            compat=Compat.STRICT,
            enforce_on=EnforceOn.ALL,
        )


@dataclass(frozen=True, slots=True)
class ToolTerm:
    """What a grant says of one tool."""

    is_denied: bool = False
    required_trust: Trust = Trust.LOW
    needs_approval: bool = False  # a person approves each call of it


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of some days of the week (Monday is 0), in minutes from midnight in a time zone; it may pass midnight."""

    days: frozenset[int]
    start: int
    end: int
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a grant counts: whatever is set must hold, and of a list any one. `arguments` holds a JSON Schema per tool."""

    hours: tuple[Hours, ...] = ()
    networks: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GrantRule:
    """A grant as the engine sees it. Every part of the subject that is set must match; no `tool_rules` means every tool."""

    grant_id: UUID
    server_id: UUID
    max_trust: Trust
    side_effects: frozenset[SideEffect]
    name: str = ""
    namespace: str = ""
    user: str = ""
    agent: str = ""
    team: str = ""
    key: str = ""
    everyone: bool = False
    tool_rules: Mapping[str, ToolTerm] = field(default_factory=dict)
    conditions: Conditions | None = None
    policy_version: str = ""
    disabled: bool = False
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionRule:
    """A session of an agent as the engine sees it: what a person consented to, for how long."""

    session_id: UUID
    server_id: UUID
    name: str
    namespace: str = ""
    user: str = ""
    agent: str = ""
    team: str = ""
    consented_trust: Trust = Trust.LOW
    issued_at: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    idle_timeout_s: int = 0  # 0: what the server's policy says
    policy_version: str = ""
    credential_id: UUID | None = None  # of the organisation for the server, instead of its usual one

    def ends_at(self, terms: SessionTerms, used_at: datetime | None = None) -> datetime | None:
        """The moment from which it counts no more if nobody uses it again. `used_at` is a use that the rule does not know of."""
        ends = [self.expires_at] if self.expires_at is not None else []
        if self.issued_at is not None:
            ends.append(self.issued_at + timedelta(seconds=terms.max_lifetime_s))
        uses = [moment for moment in (self.issued_at, self.last_used_at, used_at) if moment is not None]
        idle = min(filter(None, (self.idle_timeout_s, terms.idle_timeout_s)), default=0)
        if uses and idle:
            ends.append(max(uses) + timedelta(seconds=idle))
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, after authentication. Empty text means that this part is not known."""

    key_id: str = ""
    user_id: str = ""
    agent: str = ""
    team_ids: frozenset[str] = frozenset()

    @property
    def is_known(self) -> bool:
        return bool(self.key_id or self.user_id or self.agent or any(self.team_ids))


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. `tool` is the one that is called or started the task, and empty for other methods."""

    method: str
    tool: str = ""
    session: str = ""  # the name that the caller gives it
    address: str = ""  # where the caller is; empty when it is not known
    environment: str = ""  # what the caller's key is for, such as production
    arguments: Mapping[str, Any] | None = (
        None  # None: not known, as when tools are listed; then their limits are not looked at
    )
    session_used_at: datetime | None = None  # a later use of the session than its rule knows of


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the explanation of a decision."""

    rule: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one grant adds where several count together: its trust, and the trust that its rule asks for, if it has one."""

    grant_id: UUID
    name: str
    trust: str
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, why, under which grant and session, and what to do next."""

    allowed: bool
    reason: Reason
    message: str
    next_step: str = ""
    grant_id: UUID | None = None
    side_effect: str = ""
    trust_required: str = ""
    trust_effective: str = ""
    steps: tuple[Step, ...] = field(default=())
    shares: tuple[Share, ...] = field(default=())  # of the grants that counted, in an explanation of several
    session_id: UUID | None = None
    trust_admin: str = ""  # what the grants give
    trust_consented: str = ""  # what the session's person agreed to; the same as `trust_admin` without a session
    risk: str = ""
    policy_version: str = ""
    obligations: tuple[str, ...] = ()  # what has to happen beside the call, such as APPROVAL of it
