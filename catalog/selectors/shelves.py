"""Short lists that lead into the catalog: what operators put forward, what is called more than before, what is called
most, what changed last."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.choices import Status
from catalog.facets import Query
from catalog.models import Server
from catalog.selectors.listing import visible_to
from catalog.selectors.search import Scene, search
from catalog.types import Viewer

_SHOWN = (Status.LISTED, Status.APPROVED, Status.DEPRECATED)


@dataclass(frozen=True, slots=True)
class Shelf:
    """`query` shows all of what the shelf shows a part of; None where no search does."""

    name: str
    label: str
    query: Query | None
    servers: list[Server]


def list_shelves(scene: Scene, most: int) -> list[Shelf]:
    """The shelves that hold something."""
    popular, updated = Query(sort="popularity"), Query(sort="updated")
    called = [server for server in search(scene, popular)[:most] if server.calls_30d]
    found = [
        Shelf("featured", "Featured", Query(chosen={"featured": ("yes",)}), _marked(scene.viewer, "is_featured", most)),
        Shelf("trending", "Trending", Query(sort="trend"), _trending(scene.viewer, most)),
        Shelf("called", "Most called", popular, called),
        Shelf("updated", "Recently updated", updated, search(scene, updated)[:most]),
        Shelf("verified", "Verified", Query(chosen={"verified": ("yes",)}), _marked(scene.viewer, "is_verified", most)),
    ]
    return [shelf for shelf in found if shelf.servers]


def _marked(viewer: Viewer, mark: str, most: int) -> list[Server]:
    rows = visible_to(viewer).filter(**{mark: True}, status__in=_SHOWN)
    return list(rows.order_by("name", "pk")[:most])


def _trending(viewer: Viewer, most: int) -> list[Server]:
    """Servers that were called more in the last week than in the weeks before, by how much."""
    rows = visible_to(viewer).filter(trend__gt=0, status__in=_SHOWN)
    return list(rows.order_by("-trend", "name", "pk")[:most])
