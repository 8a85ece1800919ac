"""A gateway's question about one call, and the answer. Plain values, free of Django."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class CallAsk:
    """One call as an approval is bound to it. `arguments` is their canonical JSON, every digit kept."""

    tenant_id: UUID
    call_id: UUID
    api_key_id: UUID
    on_behalf: str  # for whom the key says that it calls, digested; empty for the key itself
    human: str  # who that is, where it is a person's id
    agent: str
    session: str
    server_id: UUID
    server_slug: str
    tool: str
    definition: str  # digest of the tool's definition, or of what stands in for it
    side_effect: str
    trust_required: str
    arguments: bytes
    flow: tuple[str, ...] = ()  # labels that would meet in the session, where that is why a person is asked
    round: str = ""  # digest of the state that a server gave for a further round of an approved call

    def binding(self) -> str:
        parts: tuple[str, ...] = (
            str(self.tenant_id), str(self.api_key_id), self.on_behalf, self.session, str(self.server_id), self.tool,
            self.definition, hashlib.sha256(self.arguments).hexdigest(),
        )  # fmt: skip
        if self.flow:
            # What the session had touched is part of what a person approves: with more it is another call.
            parts += (",".join(self.flow),)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """`state`: used (this call may pass), waiting, rejected, full when too many calls of the key wait already, or none for a
    further round that nobody asked for."""

    state: str
    approval_id: UUID | None = None
    expires_at: str = ""
    comment: str = ""
