"""Values of the catalog that cross its border."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at the catalog. No tenant means the public."""

    tenant_id: UUID | None = None
    team_ids: frozenset[UUID] = frozenset()
    platform: bool = False


PUBLIC_VIEWER = Viewer()


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a server says of itself, as it said it: definitions are the server's own JSON."""

    protocol: str
    server_info: dict[str, Any]
    instructions: str
    capabilities: dict[str, Any]
    tools: list[dict[str, Any]]
    resource_count: int | None = None
    prompt_count: int | None = None


@dataclass(frozen=True, slots=True)
class ToolDeclaration:
    """What a provider declares of a tool; what is not declared is derived from the server's own hints."""

    required_trust: str = ""
    side_effect: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a provider gives to register a server."""

    slug: str
    name: str
    url: str
    category: str
    summary: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    visibility: str = "org"
    auth_mode: str = "none"
    required_trust: str = "low"
    policy_mode: str = "allow-list"
    tools: dict[str, ToolDeclaration] = field(default_factory=dict)
