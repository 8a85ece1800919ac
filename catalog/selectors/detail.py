"""One server, as its page and the API show it. Applies `visible_to` through `find_server`."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from catalog.cards import sort_effects
from catalog.models import Server, ServerVersion, SourceEntry, Tool
from catalog.selectors.listing import find_server, visible_to
from catalog.selectors.search import with_governance
from catalog.types import Viewer
from core.errors import NotFoundError

SOURCES_MAX = 20


def get_server(viewer: Viewer, slug: str) -> Server:
    """The server that this name means for this viewer. Raises NotFoundError."""
    found = find_server(viewer, slug)
    if found is None:
        raise NotFoundError(
            "There is no server of this name that you may see.", next_step="Check the name, or search the catalog."
        )
    return with_governance(visible_to(viewer)).get(pk=found.pk)


def list_tools(server: Server, text: str = "") -> QuerySet[Tool]:
    """Tools of the current version in the server's own order; with a text, those that mention it."""
    rows = Tool.objects.filter(version_id=server.current_version_id)
    if text:
        rows = rows.filter(Q(name__icontains=text) | Q(title__icontains=text) | Q(description__icontains=text))
    return rows.order_by("position")


def list_versions(server: Server, most: int) -> QuerySet[ServerVersion]:
    return ServerVersion.objects.filter(server=server).order_by("-created_at")[:most]


def find_version(server: Server, text: str) -> ServerVersion | None:
    """A version of this server by its id, given as text from outside."""
    try:
        return ServerVersion.objects.filter(server=server, pk=UUID(text)).first()
    except ValueError:
        return None


def previous_version(version: ServerVersion) -> ServerVersion | None:
    """The one that was read before it."""
    rows = ServerVersion.objects.filter(server_id=version.server_id, created_at__lt=version.created_at)
    return rows.order_by("-created_at").first()


def definitions_of(version: ServerVersion) -> dict[str, dict[str, Any]]:
    """The tools of a version by name, as they were given."""
    return dict(Tool.objects.filter(version=version).order_by("position").values_list("name", "definition"))


def list_sources(server: Server) -> list[SourceEntry]:
    """The sources that know the server, the one whose words are shown first; of each the latest entry."""
    rows = (
        SourceEntry.objects.filter(server=server).order_by("source_id", "-is_latest", "-seen_at").distinct("source_id")
    )
    return sorted(rows[:SOURCES_MAX], key=lambda entry: (not entry.wins, -entry.source_priority, entry.source_name))


def count_needs(server: Server) -> list[tuple[str, str, int]]:
    """What the tools of a server need, in groups: side effect (empty when not declared), required trust, how many tools."""
    rows = (
        Tool.objects.filter(version_id=server.current_version_id)
        .order_by()
        .values_list("side_effect", "required_trust")
        .annotate(number=Count("pk"))
    )
    counts: Counter[tuple[str, str]] = Counter()
    for effect, trust, number in rows:
        counts[effect, trust] += number
    order = [*sort_effects([effect for effect, _ in counts if effect]), ""]
    trusts = ["low", "medium", "high"]
    return sorted(
        ((effect, trust, number) for (effect, trust), number in counts.items()),
        key=lambda need: (order.index(need[0]), trusts.index(need[1])),
    )
