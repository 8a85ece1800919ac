"""Which servers an organisation may use, and who in it may: told by the app that owns grants.

Grants live above the catalog, so the catalog cannot ask for them. The owner registers a source when it is ready; without one,
nothing is usable, which is what default deny means.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Holder:
    """One live right on a server. No `tools` means all of them; no `expires_at` means until revoked."""

    kind: str
    label: str
    trust: str
    side_effects: tuple[str, ...]
    tools: tuple[str, ...]
    expires_at: datetime | None


class Source(Protocol):
    def usable_servers(self, organisation: Tenant) -> set[UUID]:
        """Servers on which anybody in the organisation has a live right."""
        ...

    def holders(self, organisation: Tenant, server_id: UUID) -> list[Holder]: ...


_sources: list[Source] = []


def register(source: Source) -> None:
    _sources.append(source)


def usable_servers(organisation: Tenant | None) -> set[UUID]:
    if organisation is None:
        return set()
    return set().union(*(source.usable_servers(organisation) for source in _sources))


def holders(organisation: Tenant | None, server_id: UUID) -> list[Holder]:
    if organisation is None:
        return []
    return [holder for source in _sources for holder in source.holders(organisation, server_id)]
