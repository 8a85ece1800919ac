"""What files say of access, whichever way they say it: grants, sessions, and the policy of a server. Pure.

Names follow MCP Runtime's `MCPAccessGrant` and `MCPAgentSession` (api/v1alpha1/access_types.go). What those cannot say (a key
or everybody as the subject, conditions, an end) is written in kinds of our own, so that no program that knows only theirs takes
a grant without what narrows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

JSON = dict[str, Any]

TRUSTS = ("low", "medium", "high")
EFFECTS = ("read", "write", "destructive")


@dataclass(frozen=True, slots=True)
class SubjectEntry:
    """Whom it is for: every part that is set must match. `everyone` is the whole organisation, said in so many words."""

    human: str = ""
    agent: str = ""
    team: str = ""
    key: str = ""
    everyone: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.human or self.agent or self.team or self.key or self.everyone)


@dataclass(frozen=True, slots=True)
class RuleEntry:
    name: str
    decision: str = "allow"
    required_trust: str = "low"
    approval: bool = False


@dataclass(frozen=True, slots=True)
class GrantEntry:
    """`namespace` blank: the organisation's own. No `tool_rules`: every tool. No `side_effects`: no tool at all."""

    name: str
    server: str
    subject: SubjectEntry
    namespace: str = ""
    max_trust: str = "low"
    side_effects: tuple[str, ...] = ()
    tool_rules: tuple[RuleEntry, ...] = ()
    policy_version: str = ""
    disabled: bool = False
    conditions: JSON = field(default_factory=dict)
    expires_at: datetime | None = None

    @property
    def is_plain(self) -> bool:
        """Whether MCP Runtime's kind can say all of it."""
        approves = any(rule.approval for rule in self.tool_rules)
        return not (self.subject.key or self.subject.everyone or self.conditions or self.expires_at or approves)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where the credential for the server lies: the name of a secret and a key in it. Never the credential itself."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class SessionEntry:
    name: str
    server: str
    subject: SubjectEntry
    namespace: str = ""
    consented_trust: str = "low"
    expires_at: datetime | None = None
    revoked: bool = False
    credential: SecretRef | None = None
    policy_version: str = ""
    idle_timeout_s: int | None = None

    @property
    def is_plain(self) -> bool:
        return self.idle_timeout_s is None


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """The policy of a server as its owner sets it. None: the file says nothing of it, and it stays as it is."""

    server: str
    namespace: str = ""
    mode: str | None = None
    default_decision: str | None = None
    enforce_on: str | None = None
    policy_version: str | None = None
    session_required: bool | None = None
    session_header: str | None = None
    session_max_lifetime_s: int | None = None
    session_idle_timeout_s: int | None = None
    compat: str | None = None
    auth_mode: str | None = None

    @property
    def says_nothing(self) -> bool:
        return all(
            getattr(self, name) is None for name in self.__dataclass_fields__ if name not in ("server", "namespace")
        )


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """The flow rule of the organisation, with what it says of tools for its own calls. All of it: what is left out is not so.

    `labels` holds a server, a tool (empty for resources and prompts) and its labels, in order.
    """

    mode: str = "escalate"
    forbidden: tuple[tuple[str, ...], ...] = ()
    scope: str = "caller"
    window_s: int = 3_600
    unlabelled: str = "nothing"
    exempt_agents: tuple[str, ...] = ()
    exempt_grants: tuple[str, ...] = ()
    labels: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    namespace: str = ""

    @property
    def name(self) -> str:
        return "flow"


@dataclass(frozen=True, slots=True)
class Lint:
    """Something that is taken as it stands, though its author hardly meant it; `fix` says what to write instead."""

    file: str
    entry: str
    field: str
    code: str
    message: str
    fix: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.entry, self.field, f"{self.message} {self.fix}") if part)


def moment_text(moment: datetime) -> str:
    """RFC 3339 in UTC, with as many digits of the second as there are."""
    return moment.isoformat().replace("+00:00", "Z")
