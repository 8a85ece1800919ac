"""As what a request to the API comes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tenants.models import APIKey, Tenant, User


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request may do, and in which organisation; `request.auth` of the API."""

    tenant: Tenant
    user: User | None
    scopes: frozenset[str]
    key: APIKey | None = None
    teams: frozenset[UUID] = frozenset()  # of a member; a key has the one that it is bound to

    @property
    def team_ids(self) -> frozenset[UUID]:
        if self.teams:
            return self.teams
        return frozenset({self.key.team_id}) if self.key is not None and self.key.team_id else frozenset()
