"""A gateway's question about the labels of one call, and the answer. Plain values, free of Django."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from access.flow import Verdict
from access.types import FlowRule, FlowScope, Labels


@dataclass(frozen=True, slots=True)
class FlowAsk:
    """One call that touches labels. `peeks` asks without touching, `approved` tells that a person approved this very call."""

    tenant_id: UUID
    call_id: UUID
    api_key_id: UUID
    on_behalf: str  # for whom the key says that it calls, digested; empty for the key itself
    agent: str
    agent_session_id: UUID | None
    protocol_session: str  # the seal of a session of the protocol; empty where there is none
    server_slug: str
    tool: str
    labels: Labels
    rule: FlowRule
    exempt: bool = False
    approved: bool = False
    peeks: bool = False

    @property
    def kind(self) -> str:
        """What makes the session: agent, protocol or caller."""
        if self.rule.scope is FlowScope.SESSION and self.agent_session_id is not None:
            return "agent"
        if self.rule.scope is FlowScope.SESSION and self.protocol_session:
            return "protocol"
        return "caller"

    def scope(self) -> str:
        """Names the session. Sessions of a rule end with the rule; whom a key calls for is always apart."""
        kind = self.kind
        named = {"agent": str(self.agent_session_id), "protocol": self.protocol_session}.get(kind, "")
        parts = (self.rule.epoch, kind, str(self.api_key_id), self.on_behalf, named)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FlowAnswer:
    """`touched` is what the session had touched before this call."""

    verdict: Verdict
    touched: Labels
