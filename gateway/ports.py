"""The one door from the data plane to the control plane: plain functions that the composition root passes in.

They are synchronous and run in the gateway's own threads. They raise whatever the database raises; the store treats every
exception as "not known now" and fails closed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from access.approvals.types import CallAnswer, CallAsk
from access.flows.types import FlowAnswer, FlowAsk
from access.limits import LimitRule, Window
from gateway.admission.budgets import Subject
from gateway.entries import ServerEntry, SigningEntry, TenantEntry


class Loader(Protocol):
    def tenants_of_keys(self, key_ids: Collection[str]) -> Mapping[str, UUID]:
        """Whose keys these are, by the lookup part of their texts; what is missing from the answer is no key."""

    def tenant(self, tenant_id: UUID) -> TenantEntry | None: ...

    def servers_by_slug(self, slug: str) -> list[ServerEntry]:
        """All servers of any owner with that name; who may see which is the gateway's decision."""

    def server(self, server_id: UUID) -> ServerEntry | None: ...

    def servers_by_id(self, server_ids: Collection[UUID]) -> list[ServerEntry]:
        """Those servers, and every other server of any owner that has the name of one of them."""

    def revisions(
        self, tenant_ids: Collection[UUID], server_ids: Collection[UUID]
    ) -> tuple[Mapping[UUID, int], Mapping[UUID, int]]:
        """Current revisions of what still exists; a missing id is gone."""

    def touch_keys(self, used: Mapping[UUID, datetime]) -> None:
        """Note when keys were last used, by APIKey id."""

    def touch_sessions(self, used: Mapping[UUID, Mapping[UUID, datetime]]) -> None:
        """Note when sessions of agents were last used, by organisation and session."""

    def last_use(self, tenant_id: UUID, session_id: UUID) -> datetime | None:
        """When a session was last used, as far as any gateway has told."""

    def spent(self, subject: Subject, rule: LimitRule, window: Window) -> int:
        """What a quota or cap has used in its window, from the rows of calls; in the units of the rule."""

    def tell_limit(self, subject: Subject, rule: LimitRule, percent: int, used: int) -> None:
        """Tell people that a quota or cap has reached 50, 75, 90 or 100 percent."""

    def claim_call(self, ask: CallAsk) -> CallAnswer:
        """Use the approval that a person gave for this very call, else ask for one. Of equal calls one may pass."""

    def take_flow(self, ask: FlowAsk) -> FlowAnswer:
        """Judge a call by what its session has touched, and have the session touch its labels when it passes."""

    def open_round(self, ask: CallAsk) -> None:
        """Note that the server of an approved call asks for more: what answers `ask.round` passes, once."""

    def call_state(self, ask: CallAsk) -> str:
        """How such a call stands, with nothing used and nobody asked."""

    def report_definitions(self, server_id: UUID, tools: Mapping[str, dict[str, Any]]) -> None:
        """Tools, by name, that a server was just seen to define differently from its entry."""

    def signing(self) -> SigningEntry:
        """The key that signs and the public keys of this moment."""

    def credential_rejected(self, tenant_id: UUID, credential_id: UUID) -> None:
        """Note that a server answered 401 to a credential of an organisation."""

    def renew_credential(self, tenant_id: UUID, credential_id: UUID) -> None:
        """Get a fresh access token for a credential that has expired; nothing when somebody else just did."""
