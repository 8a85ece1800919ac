"""What the pages of an organisation share: who looks at the catalog, and servers by id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from access.types import SideEffect
from catalog.models import Server
from catalog.selectors.listing import find_server, visible_to
from catalog.types import Viewer
from core.errors import NotFoundError
from tenants.requests import OrganisationRequest


def viewer_of(request: OrganisationRequest) -> Viewer:
    """This person through this organisation."""
    teams = frozenset(request.membership.teams.values_list("pk", flat=True))
    return Viewer(tenant_id=request.organisation.pk, team_ids=teams)


def get_server(request: OrganisationRequest, slug: str) -> Server:
    """The server that a name means here. Raises NotFoundError when there is none that this person may see."""
    server = find_server(viewer_of(request), slug)
    if server is None:
        raise NotFoundError(f"There is no server named “{slug[:40]}” that you may see.")
    return server


def servers_by_id(request: OrganisationRequest, ids: Iterable[UUID | None]) -> dict[UUID, Server]:
    """Those of the servers that this person may see; what is missing from the answer is not for these eyes."""
    return visible_to(viewer_of(request)).in_bulk({pk for pk in ids if pk is not None})


def tool_to_try(server: Server) -> str:
    """A tool for a first call: one that reads and wants no arguments, if there is one; empty when there is no tool."""
    tools = list(server.current_version.tools.all()) if server.current_version else []
    easy = [tool for tool in tools if not (tool.definition.get("inputSchema") or {}).get("required")]
    harmless = [tool for tool in tools if tool.side_effect == SideEffect.READ]
    ordered = [*(tool for tool in easy if tool in harmless), *harmless, *tools]
    return ordered[0].name if ordered else ""


class Judged(Protocol):
    """What a decision, or the call that stores it, says of the request."""

    @property
    def trust_required(self) -> str: ...
    @property
    def side_effect(self) -> str: ...


def grant_url(org: str, server: str, *, key: UUID, tool: str, decision: Judged) -> str:
    """The page that gives a key what a refused call lacked, filled in."""
    return _filled("org:grant-create", org, server, key, tool, decision)


def ask_url(org: str, server: str, *, key: UUID, tool: str, decision: Judged) -> str:
    """The page that asks for it, for those who do not give access."""
    return _filled("org:access-request", org, server, key, tool, decision)


def _filled(page: str, org: str, server: str, key: UUID, tool: str, decision: Judged) -> str:
    asked = {
        "server": server,
        "subject": f"key:{key}",
        "tool": tool,
        "trust": decision.trust_required,
        "effect": decision.side_effect,
    }
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"{reverse(page, args=[org])}?{query}"
