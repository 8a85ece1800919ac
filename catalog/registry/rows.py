"""Which versions of which servers a viewer is given, and in what order.

Servers come in the order of (registry name, slug, id), each with its versions from the oldest on; a cursor is the place of the
last version that was given, so a page is the same whatever was added or removed before it. Where several sources know a name,
the viewer's own server is shown, else the platform's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.db.models import Case, Exists, IntegerField, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Substr

from catalog.choices import Status, UpstreamStatus, Visibility
from catalog.models import Server, ServerVersion
from catalog.registry.names import namespace, own_name
from catalog.selectors.listing import removed_from, visible_to
from catalog.types import Viewer
from core.errors import InvalidError

LATEST = "latest"
_LISTED = (Status.LISTED, Status.APPROVED, Status.DEPRECATED)
_ROUND = 100
# What is large and not looked at; contents are read for the versions of the page only.
_LARGE = (
    "description",
    "current_version__manifest",
    "current_version__server_info",
    "current_version__instructions",
    "current_version__capabilities",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A version's place in the order of all."""

    registry_name: str
    slug: str
    server_id: UUID
    version_id: UUID

    def encode(self) -> str:
        parts = [self.registry_name, self.slug, self.server_id.hex, self.version_id.hex]
        return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Place:
        """Raises InvalidError."""
        try:
            name, slug, server, version = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if isinstance(name, str) and isinstance(slug, str) and "\x00" not in name + slug:
                name.encode()
                slug.encode()
                return cls(name, slug, UUID(server), UUID(version))
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass
        raise InvalidError("The cursor is not one of ours.", next_step="Begin again without a cursor.", field="cursor")


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the list is asked for. `version` is a version, or `latest`; `since` includes what was deleted."""

    search: str = ""
    version: str = ""
    since: datetime | None = None
    deleted: bool = False

    @property
    def with_deleted(self) -> bool:
        return self.deleted or self.since is not None


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[tuple[Server, ServerVersion]]
    cursor: str = ""


def list_page(viewer: Viewer, asked: Asked, *, cursor: str = "", limit: int) -> Page:
    """A page of the list. Raises InvalidError for a cursor that is none."""
    place = Place.decode(cursor) if cursor else None
    found = list(islice(_versions_after(viewer, asked, place), limit + 1))
    pairs = _loaded(found[:limit])
    if len(found) <= limit or not pairs:
        return Page(pairs)
    server, version = pairs[-1]
    return Page(pairs, Place(server.registry_name, server.slug, server.pk, version.pk).encode())


def find_server(viewer: Viewer, name: str, *, deleted: bool = False) -> Server | None:
    """The server that this name means for the viewer: one of ours before one of a source that says the same."""
    if "\x00" in name:
        return None
    own, rows = own_name(name), _servers(viewer, with_deleted=deleted)
    if own is not None and (found := _own_server(rows, own.owner, own.slug)):
        return found
    named = rows.filter(registry_name=name).order_by("rank", "pk")  # type: ignore[misc]  # annotated
    return named.first() if name else None


def list_versions(server: Server, *, deleted: bool = False) -> list[ServerVersion]:
    """Of each version the last that was read, the newest release first."""
    rows = _newest_of_each(_of_status(ServerVersion.objects.filter(server=server), deleted=deleted))
    found = [version for _, version in _loaded([(server, version) for version in rows])]
    return sorted(
        found, key=lambda version: (version.is_latest, version.released_at or version.created_at), reverse=True
    )


def find_version(server: Server, wanted: str) -> ServerVersion | None:
    """A version by its label, deleted ones too: who knows the label may learn what became of it."""
    if "\x00" in wanted:
        return None
    rows = ServerVersion.objects.filter(server=server)
    if wanted == LATEST:
        return rows.filter(is_latest=True).order_by("-pk").first() or server.current_version
    return rows.filter(version=wanted).order_by("-pk").first()


def _own_server(rows: QuerySet[Server], owner: str, slug: str) -> Server | None:
    rows = rows.filter(registry_name="", slug=slug)
    if not owner:
        return rows.filter(Q(visibility=Visibility.PUBLIC) | Q(owner_tenant=None)).order_by("pk").first()
    return rows.filter(owner_tenant__slug=owner).exclude(visibility=Visibility.PUBLIC).first()


def _servers(viewer: Viewer, *, with_deleted: bool) -> QuerySet[Server]:
    """What the viewer may know of and could use, with `rank`: own ones first, then the platform's, then others'."""
    rows = visible_to(viewer).filter(status__in=_LISTED)
    if with_deleted:
        rows = rows | removed_from(viewer)
    rows = rows.defer(*_LARGE)
    own = [When(owner_tenant_id=viewer.tenant_id, then=Value(0))] if viewer.tenant_id else []
    platform = When(owner_tenant_id=None, then=Value(1))
    return rows.annotate(rank=Case(*own, platform, default=Value(2), output_field=IntegerField()))


def _asked_servers(viewer: Viewer, asked: Asked) -> QuerySet[Server]:
    rows = _servers(viewer, with_deleted=asked.with_deleted)
    better = (
        _servers(viewer, with_deleted=asked.with_deleted)
        .filter(registry_name=OuterRef("registry_name"))
        .filter(Q(rank__lt=OuterRef("rank")) | Q(rank=OuterRef("rank"), pk__lt=OuterRef("pk")))
    )
    rows = rows.filter(Q(registry_name="") | ~Exists(better.order_by()))
    # A source may not speak in our name of a server that is here.
    taken = visible_to(viewer).filter(registry_name="", slug=OuterRef("last_part"), visibility=Visibility.PUBLIC)
    prefix = f"{namespace()}/"
    rows = rows.annotate(last_part=Substr("registry_name", len(prefix) + 1)).exclude(
        Q(registry_name__startswith=prefix) & Q(Exists(taken.order_by()))
    )
    if asked.since is not None:
        rows = rows.filter(entry_changed_at__gt=asked.since)
    if asked.search:
        rows = rows.filter(_named_like(asked.search))
    if asked.version and asked.version != LATEST:
        of_version = ServerVersion.objects.filter(server=OuterRef("pk"), version=asked.version)
        rows = rows.filter(Exists(of_version.order_by()))
    return rows.order_by("registry_name", "slug", "pk")


def _named_like(text: str) -> Q:
    own = text.removeprefix(f"{namespace()}/")
    return Q(registry_name__icontains=text) | Q(name__icontains=text) | Q(registry_name="", slug__icontains=own)


def _versions_after(viewer: Viewer, asked: Asked, place: Place | None) -> Iterator[tuple[Server, ServerVersion]]:
    """Every version that is asked for, behind the place; read in rounds, because nobody reads all of it."""
    rows = _asked_servers(viewer, asked)
    while True:
        servers = list(rows.filter(_from(place))[:_ROUND] if place else rows[:_ROUND])
        yield from _of_servers(servers, asked, place)
        if len(servers) < _ROUND:
            return
        last = servers[-1]
        place = Place(last.registry_name, last.slug, last.pk, UUID(int=2**128 - 1))


def _from(place: Place) -> Q:
    """Servers from the place on, that one included: more versions of it may follow."""
    return Q(registry_name__gte=place.registry_name) & (
        Q(registry_name__gt=place.registry_name) | Q(slug__gt=place.slug) | Q(slug=place.slug, pk__gte=place.server_id)
    )


def _of_servers(servers: list[Server], asked: Asked, place: Place | None) -> Iterator[tuple[Server, ServerVersion]]:
    rows = _of_status(ServerVersion.objects.filter(server__in=servers), deleted=asked.with_deleted)
    if asked.version == LATEST:
        rows = rows.filter(Q(is_latest=True) | Q(pk__in=[server.current_version_id for server in servers]))
    elif asked.version:
        rows = rows.filter(version=asked.version)
    by_server: dict[UUID, list[ServerVersion]] = {}
    for version in _newest_of_each(rows):
        by_server.setdefault(version.server_id, []).append(version)
    for server in servers:
        versions = by_server.get(server.pk, [])
        if asked.version == LATEST:
            versions = sorted(versions, key=lambda version: (version.is_latest, version.pk))[-1:]
        for version in sorted(versions, key=lambda version: version.pk):
            if place is None or server.pk != place.server_id or version.pk > place.version_id:
                yield server, version


def _of_status(rows: QuerySet[ServerVersion], *, deleted: bool) -> QuerySet[ServerVersion]:
    return rows if deleted else rows.exclude(upstream_status=UpstreamStatus.DELETED)


def _newest_of_each(rows: QuerySet[ServerVersion]) -> Iterable[ServerVersion]:
    """A label may have been read with several contents; the last one counts. Without the contents, which are large."""
    small = rows.only("id", "server_id", "version", "is_latest").order_by("server_id", "version", "-is_latest", "-pk")
    return small.distinct("server_id", "version")


def _loaded(pairs: list[tuple[Server, ServerVersion]]) -> list[tuple[Server, ServerVersion]]:
    whole = ServerVersion.objects.in_bulk([version.pk for _, version in pairs])
    return [(server, whole[version.pk]) for server, version in pairs if version.pk in whole]
