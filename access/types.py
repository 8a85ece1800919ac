"""The values that a policy decision takes and gives: plain, immutable, free of Django.

They are compiled by the control plane (`access.snapshot`), travel as JSON, and are held in memory by every gateway process.
Ranks and reason strings follow the MCP Runtime evaluator, so that its users find the words they know.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum, StrEnum
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


class SubjectKind(StrEnum):
    USER = "user"
    AGENT = "agent"
    TEAM = "team"
    KEY = "key"


class PolicyMode(StrEnum):
    ALLOW_LIST = "allow-list"
    OBSERVE = "observe"


class Reason(StrEnum):
    """Why a decision fell as it did; stored with every call."""

    ALLOWED = "allowed"
    OBSERVED = "observed"
    MISSING_IDENTITY = "missing_identity"
    NO_MATCHING_GRANT = "no_matching_grant"
    GRANT_EXPIRED = "grant_expired"
    GRANT_REVOKED = "grant_revoked"
    TOOL_UNKNOWN = "tool_unknown"
    TOOL_QUARANTINED = "tool_quarantined"
    TOOL_NOT_GRANTED = "tool_not_granted"
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
    LIMITS_UNAVAILABLE = "limits_unavailable"
    RECORD_UNAVAILABLE = "record_unavailable"
    CREDENTIAL_MISSING = "credential_missing"
    ACCOUNT_NOT_CONNECTED = "account_not_connected"


@dataclass(frozen=True, slots=True)
class ToolRule:
    """What a server version's tool needs."""

    name: str
    required_trust: Trust
    side_effect: SideEffect | None
    digest: str = ""  # of the approved definition (`catalog.digests.of_tool`); empty when it is not known
    idempotent: bool = False  # calling it twice does no more than calling it once, as its approved definition says
    quarantined: bool = False  # the server's definition differs from the approved one


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """The policy side of a catalog entry."""

    server_id: UUID
    mode: PolicyMode
    required_trust: Trust
    tools: dict[str, ToolRule]

    def towards(self, *, own: bool) -> ServerPolicy:
        """The policy for callers of the owner (`own`) or of another organisation.

        Observing is for the owner's own agents. Whether others may call is for their own grants to say: a provider must not
        switch off another organisation's access rules and be paid for what passes.
        """
        return self if own or self.mode is PolicyMode.ALLOW_LIST else replace(self, mode=PolicyMode.ALLOW_LIST)


@dataclass(frozen=True, slots=True)
class GrantRule:
    """A grant as the engine sees it. No `tools` means every tool of the server."""

    grant_id: UUID
    server_id: UUID
    subject_kind: SubjectKind
    subject: str
    max_trust: Trust
    side_effects: frozenset[SideEffect]
    tools: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, after authentication. Empty text means that this part is not known."""

    key_id: str = ""
    user_id: str = ""
    agent: str = ""
    team_ids: frozenset[str] = frozenset()

    def subjects(self) -> frozenset[tuple[SubjectKind, str]]:
        pairs = [
            (SubjectKind.KEY, self.key_id),
            (SubjectKind.USER, self.user_id),
            (SubjectKind.AGENT, self.agent),
            *((SubjectKind.TEAM, team) for team in self.team_ids),
        ]
        return frozenset((kind, value) for kind, value in pairs if value)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the explanation of a decision."""

    rule: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, why, under which grant, and what to do next."""

    allowed: bool
    reason: Reason
    message: str
    next_step: str = ""
    grant_id: UUID | None = None
    side_effect: str = ""
    trust_required: str = ""
    trust_effective: str = ""
    steps: tuple[Step, ...] = field(default=())
