"""Finding the server of each entry, and letting it show the words of the entry that wins. Writes what `importing` read.

Only entries of one audience meet here. A server that was approved here keeps everything that its approval rests on (address,
policy, the version that was read from it); a source may only tell what its publisher says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from django.db import connection, models
from django.db.models import Q

from catalog.choices import Badge, Origin, Status, UpstreamStatus, Visibility
from catalog.formats.normal import Entry
from catalog.merge import listings, rules, versions
from catalog.merge.identity import NAME
from catalog.models import Server, ServerVersion, SourceEntry, Tool
from catalog.services.words import Words
from core import bulk, clock
from core.ids import uuid7, uuid7s
from tenants.context import platform_scope

Key = tuple[UUID, str]

_CLOSURE_ROUNDS = 8
_TOLD_OF_GOVERNED = (
    "publisher_name",
    "website_url",
    "documentation_url",
    "repository_url",
    "icon_url",
    "icon_digest",
    "license",
    "package_types",
)
_SERVER_KEPT = {"id", "created_at", "revision", "calls_30d", "trend", "installs", "downloads", "is_featured"}
_SERVER_FIELDS = [each.name for each in Server._meta.concrete_fields if each.name not in _SERVER_KEPT]
_ENTRY_FIELDS = [each.name for each in SourceEntry._meta.concrete_fields if each.name != "id"]
_listing = partial(bulk.maker(Server), origin=Origin.IMPORTED, status=Status.LISTED, badge=Badge.EXPERIMENTAL)
_version = bulk.maker(ServerVersion)
_ENTRY_MARKS = ["server", "wins", "is_latest", "audience", "status", "digest", "is_vouched"]


class Place(Protocol):
    """Whose servers these are, and who sees them."""

    @property
    def audience(self) -> str: ...
    @property
    def owner_tenant_id(self) -> UUID | None: ...
    @property
    def visibility(self) -> str: ...
    @property
    def teams(self) -> list[UUID]: ...


@dataclass(frozen=True, slots=True)
class _PlaceOf:
    """Where a server stands already."""

    audience: str
    owner_tenant_id: UUID | None
    visibility: str
    teams: list[UUID]


@dataclass(slots=True)
class Outcome:
    created: int = 0
    merged: int = 0
    removed: int = 0


@dataclass(slots=True)
class _Listed:
    """One entry of one source: all its versions when they are being taken, only the latest of an entry that is met."""

    versions: list[SourceEntry]
    latest: SourceEntry
    is_taken: bool = False

    @property
    def claim(self) -> rules.Claim:
        row = self.latest
        return rules.Claim(
            source_id=row.source_id,
            source_name=row.source_name,
            external_id=row.external_id,
            registry_name=row.registry_name,
            keys=frozenset(row.identity),
            priority=row.source_priority,
            is_proven=row.is_proven or row.is_vouched,
            published_at=row.published_at,
            is_alive=row.status != UpstreamStatus.DELETED,
        )


@dataclass(slots=True)
class _Fresh:
    """Versions to be stored, and their tools."""

    created_at: datetime
    as_entered: list[ServerVersion] = field(default_factory=list)  # its manifest is that of the entry with this id
    put_together: list[ServerVersion] = field(default_factory=list)
    tools: list[tuple[UUID, list[dict[str, Any]]]] = field(default_factory=list)

    def add(self, version: ServerVersion, row: SourceEntry, words: Words) -> None:
        self.tools.append((version.pk, words.tools))
        if words.is_put_together:
            version.manifest = words.manifest
            self.put_together.append(version)
        else:
            version.manifest = row.pk
            self.as_entered.append(version)

    def write(self) -> None:
        bulk.insert(self.as_entered, copied=bulk.Copied("manifest", SourceEntry))
        bulk.insert(self.put_together)
        tools = [each for _, some in self.tools for each in some]
        columns = {name: [each[name] for each in tools] for name in (tools[0] if tools else ())}
        versions = [version for version, some in self.tools for _ in some]
        bulk.insert_columns(Tool, columns | {"id": uuid7s(len(tools)), "version_id": versions})


@dataclass(slots=True)
class _Shelf:
    """A group of entries and the server that they are."""

    group: rules.Group
    listed: list[_Listed]
    server: Server
    is_new: bool
    begins: bool  # the winner was not the winner, or not of this server
    words: Words | None = None
    # Version rows of this server by label and content.
    stored: dict[tuple[str, str], ServerVersion] = field(default_factory=dict)

    @property
    def winner(self) -> _Listed:
        return self.listed[0]

    @property
    def is_governed(self) -> bool:
        return self.server.status not in {Status.LISTED, Status.REMOVED}


def shelve(
    place: Place,
    rows: Sequence[SourceEntry],
    changed: Collection[SourceEntry],
    words: Mapping[UUID, Words],
    meanwhile: Callable[[], None] | None = None,
) -> Outcome:
    """Give each changed entry its server and store both. `rows` are all known versions of their names, the changed included.

    `meanwhile` is called while the database writes; it must neither ask it anything nor raise.
    """
    if not changed:
        return Outcome()
    outcome, now = Outcome(), clock.now()
    old = {row.pk: (row.server_id, row.wins, row.is_latest, row.audience) for row in rows}
    listed = _taken(place, rows, {(row.source_id, row.external_id) for row in changed})
    met = _met(place.audience, listed)
    old |= {row.pk: (row.server_id, row.wins, row.is_latest, row.audience) for each in met for row in each.versions}
    by_key = {_key(each): each for each in [*listed, *met]}
    groups = rules.group([each.claim for each in by_key.values()])
    shelves = _shelves(place, groups, by_key, outcome, now)
    _load_words(shelves, words)
    _load_versions(shelves)
    for shelf in shelves:
        was_listed = not shelf.is_new and shelf.server.status == Status.LISTED
        _fill(place, shelf, now)
        outcome.removed += was_listed and shelf.server.status == Status.REMOVED
    _name(place, shelves)
    with bulk.meanwhile():
        _store_entries(shelves, changed, old)
        _write(shelves, words)
        if meanwhile is not None:
            bulk.check_keys_now()
            meanwhile()
    _mark_latest(shelves)
    left = {old[row.pk][0] for each in by_key.values() for row in each.versions if old[row.pk][0] != row.server_id} - {
        None
    }
    if left:
        outcome.removed += _hide_left(left)
        _settle_left(place, left)
    return outcome


def vouch(source_id: UUID, external_id: str, *, is_vouched: bool) -> None:
    """Let an entry of a source count as proven by its publisher, or no more. The caller keeps imports out (`importing.lock`)."""
    rows = list(SourceEntry.objects.filter(source_id=source_id, external_id=external_id).defer("manifest"))
    if not rows:
        return
    SourceEntry.objects.filter(pk__in=[row.pk for row in rows]).update(is_vouched=is_vouched)
    for row in rows:
        row.is_vouched = is_vouched
    server = Server.objects.get(pk=rows[0].server_id)
    where = _PlaceOf(rows[0].audience, server.owner_tenant_id, server.visibility, server.allowed_teams)
    shelve(where, rows, [row for row in rows if row.is_latest], {})


def make_room(slug: str, owner_tenant_id: UUID) -> None:
    """A name that a provider registers is not kept from it by an entry that is only listed: that one gets another name."""
    with platform_scope():
        squatters = Server.objects.filter(slug=slug, status=Status.LISTED, origin=Origin.IMPORTED)
        for server in squatters.filter(Q(visibility=Visibility.PUBLIC) | Q(owner_tenant_id=owner_tenant_id)):
            others = [each for each in listings.slugs(_full_name(server)) if each != slug]
            taken = _taken_slugs(server.owner_tenant_id, others)
            server.slug = next(each for each in others if each not in taken)
            server.save(update_fields=["slug", "updated_at"])


def _key(listed: _Listed) -> Key:
    return listed.latest.source_id, listed.latest.external_id


def _taken(place: Place, rows: Iterable[SourceEntry], names: Collection[Key]) -> list[_Listed]:
    """The entries that are being taken, with their latest version marked."""
    by_name: dict[Key, list[SourceEntry]] = {}
    for row in rows:
        if (row.source_id, row.external_id) in names:
            by_name.setdefault((row.source_id, row.external_id), []).append(row)
    found = []
    for members in by_name.values():
        candidates = [
            versions.Candidate(row.version, row.says_latest, row.published_at, row.status == UpstreamStatus.DELETED)
            for row in members
        ]
        latest = members[versions.latest(candidates)]
        stored = next((row for row in members if row.server_id is not None), latest)
        is_vouched = any(row.is_vouched for row in members)
        for row in members:
            row.server_id, row.wins, row.is_vouched = stored.server_id, stored.wins, is_vouched
            row.is_latest, row.audience = row is latest, place.audience
        found.append(_Listed(members, latest, is_taken=True))
    return found


def _met(audience: str, listed: Iterable[_Listed]) -> list[_Listed]:
    """Entries of the same audience that the grouping of these can depend on, or that can depend on it.

    Two entries with names meet by name alone; other keys matter only where one of both has no name.
    """
    listed = list(listed)
    ours = {_key(each) for each in listed}
    rows = SourceEntry.objects.filter(audience=audience, is_latest=True).defer("manifest")
    servers = {each.latest.server_id for each in listed} - {None}
    found: dict[Key, _Listed] = {}
    asked: set[tuple[str, bool]] = set()
    latest = [each.latest for each in listed]
    for _ in range(_CLOSURE_ROUNDS):
        keys = {(key, bool(row.registry_name)) for row in latest for key in row.identity} - asked
        asked |= keys
        wanted = Q(server_id__in=servers) if servers else Q(pk__in=[])
        wide = sorted({key for key, of_named in keys if not of_named or key.startswith(NAME)})
        narrow = sorted({key for key, of_named in keys if of_named and not key.startswith(NAME)})
        wanted |= Q(pk__in=_having(wide)) | Q(pk__in=_having(narrow), registry_name="")
        latest = [row for row in rows.filter(wanted) if (row.source_id, row.external_id) not in ours | found.keys()]
        found |= {(row.source_id, row.external_id): _Listed([row], row) for row in latest}
        servers = set()
        if not latest:
            break
    return list(found.values())


def _having(keys: list[str]) -> list[UUID]:
    """The entries that have one of these keys. A table of keys, because of the array no index is used behind row policies."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT entry_id FROM public.catalog_entrykey WHERE key = ANY(%s)", [keys])
        return [row[0] for row in cursor.fetchall()]


def _shelves(
    place: Place, groups: Iterable[rules.Group], by_key: Mapping[Key, _Listed], outcome: Outcome, now: datetime
) -> list[_Shelf]:
    """The groups that something changed in, each with its server."""
    homes = {each.latest.server_id for each in by_key.values()} - {None}
    servers = _servers(place, homes, by_key)
    used: set[UUID] = set()
    shelves = []
    for group in sorted(groups, key=lambda each: each.winner.rank):
        listed = [by_key[claim.source_id, claim.external_id] for claim in group.claims]
        server = _home(group, listed, servers, used)
        is_new = server is None
        if server is None:
            server = _listing(id=uuid7(), created_at=now, entry_changed_at=now)
            outcome.created += 1
        used.add(server.pk)
        if len(group.sources) > 1:
            outcome.merged += sum(each.latest.server_id != server.pk for each in listed if each.is_taken)
        if (
            is_new
            or any(each.is_taken or each.latest.server_id != server.pk for each in listed)
            or not listed[0].latest.wins
        ):
            latest = listed[0].latest
            begins = not latest.wins or latest.server_id != server.pk
            shelves.append(_Shelf(group, listed, server, is_new, begins))
    _complete(shelves)
    return shelves


def _complete(shelves: Iterable[_Shelf]) -> None:
    """All versions of an entry that was only met and begins to win: they are the server's history."""
    for shelf in shelves:
        if shelf.begins and not shelf.winner.is_taken:
            latest = shelf.winner.latest
            rows = SourceEntry.objects.filter(source_id=latest.source_id, external_id=latest.external_id)
            shelf.winner.versions += rows.exclude(pk=latest.pk).defer("manifest")


def _servers(place: Place, ids: Collection[UUID], by_key: Mapping[Key, _Listed]) -> dict[UUID, Server]:
    """Servers that may be given to these entries: those of the same audience, and those that nobody else's entry is."""
    rows = {server.pk: server for server in Server.objects.filter(pk__in=ids)}
    strange = [server for server in rows.values() if not _fits(place, server)]
    if strange:
        shared = {
            server_id
            for server_id, source_id, name in SourceEntry.objects.filter(server__in=strange).values_list(
                "server_id", "source_id", "external_id"
            )
            if (source_id, name) not in by_key
        }
        for server in strange:
            if server.pk in shared or server.status not in {Status.LISTED, Status.REMOVED}:
                del rows[server.pk]
    return rows


def _fits(place: Place, server: Server) -> bool:
    """Whether the server is for the same people. What everybody sees is one audience, whoever governs it."""
    if place.visibility == server.visibility == Visibility.PUBLIC:
        return True
    return (server.owner_tenant_id, server.visibility, server.allowed_teams) == (
        place.owner_tenant_id,
        place.visibility,
        place.teams,
    )


def _home(
    group: rules.Group, listed: Sequence[_Listed], servers: Mapping[UUID, Server], used: Collection[UUID]
) -> Server | None:
    """The server that these entries were before: the one of this name, else the winner's, else the oldest."""
    ids = dict.fromkeys(each.latest.server_id for each in listed)
    found = [servers[each] for each in ids if each in servers and each not in used]
    named = [server for server in found if group.registry_name and server.registry_name == group.registry_name]
    return next(iter(named or found), None)


def _load_words(shelves: Iterable[_Shelf], given: Mapping[UUID, Words]) -> None:
    """What each server is to say: the winner's latest entry, with another source's tools when the winner names none."""
    wanted = [row.latest for shelf in shelves for row in (shelf.listed if len(shelf.listed) > 1 else [shelf.winner])]
    words = dict(given) | _stored_words([row.pk for row in wanted if row.pk not in given])
    for shelf in shelves:
        said = [words[each.latest.pk] for each in shelf.listed]
        tools = next((each.entry.tools for each in said if each.entry.tools), ())
        best = said[0]
        is_lent = tools and not best.entry.tools
        shelf.words = Words(replace(best.entry, tools=tools), is_put_together=True) if is_lent else best


def _stored_words(ids: Collection[UUID]) -> dict[UUID, Words]:
    rows = SourceEntry.objects.filter(pk__in=ids).values_list("pk", "manifest")
    return {pk: Words(Entry.from_dict(manifest)) for pk, manifest in rows} if ids else {}


def _load_versions(shelves: Iterable[_Shelf]) -> None:
    by_server = {shelf.server.pk: shelf for shelf in shelves if not shelf.is_new}
    rows = ServerVersion.objects.filter(server_id__in=by_server).only(
        "server_id", "version", "inventory_digest", "is_latest", "upstream_status", "status_message"
    )
    for row in rows:
        by_server[row.server_id].stored[row.version, row.inventory_digest] = row


def _fill(place: Place, shelf: _Shelf, now: datetime) -> None:
    """Let the server's row say what the winner says."""
    assert shelf.words is not None
    server, row, entry = shelf.server, shelf.winner.latest, shelf.words.entry
    columns = shelf.words.columns
    told = {name: columns[name] for name in _TOLD_OF_GOVERNED} if shelf.is_governed else columns
    for name, value in told.items():
        setattr(server, name, value)
    server.source_id, server.source_name = row.source_id, row.source_name
    server.source_kind, server.source_trust = row.source_kind, row.source_trust
    server.namespace_proven = row.is_proven or row.is_vouched
    is_alive = row.status != UpstreamStatus.DELETED
    if not shelf.is_governed:
        server.owner_tenant_id, server.visibility, server.allowed_teams = (
            place.owner_tenant_id,
            place.visibility,
            place.teams,
        )
        server.registry_name = shelf.group.registry_name
        server.is_verified = server.namespace_proven
        _set_status(server, is_alive=is_alive)
    server.upstream_status = row.status
    moments = [each.published_at for each in shelf.winner.versions]
    server.published_at = _first(moments if shelf.begins else [*moments, server.published_at])
    server.content_updated_at = entry.updated_at or entry.published_at or now
    server.updated_at = now


def _set_status(server: Server, *, is_alive: bool) -> None:
    """Hide what its publisher deleted. Only what was hidden for that reason comes back: an operator's removal stands."""
    if not is_alive:
        server.status = Status.REMOVED
    elif server.status == Status.REMOVED and server.upstream_status == UpstreamStatus.DELETED:
        server.status = Status.LISTED


def _first(moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _full_name(server: Server) -> str:
    if server.registry_name:
        return server.registry_name
    entry = SourceEntry.objects.filter(server=server).order_by("-wins", "pk").first()
    return entry.external_id if entry else server.name


def _taken_slugs(owner_tenant_id: UUID | None, wanted: Collection[str]) -> dict[str, UUID]:
    """Which of these names are in use where the owner's servers and public ones have theirs, and by which server."""
    public = Q(visibility=Visibility.PUBLIC) & ~Q(status=Status.REMOVED)
    own = Q(owner_tenant_id=owner_tenant_id) if owner_tenant_id else Q(pk__in=[])
    named = bulk.any_of("slug", wanted, models.TextField())
    return dict(Server.objects.filter(public | own, named).values_list("slug", "pk"))


def _name(place: Place, shelves: Iterable[_Shelf]) -> None:
    """A name in paths for servers that have none, or whose name was taken while they were hidden."""
    nameless = [
        shelf for shelf in shelves if not shelf.is_governed and (shelf.is_new or shelf.server.status == Status.LISTED)
    ]
    candidates = {
        shelf.server.pk: [
            *([shelf.server.slug] if shelf.server.slug else []),
            *listings.slugs(shelf.group.registry_name or shelf.winner.latest.external_id),
        ]
        for shelf in nameless
    }
    taken = _taken_slugs(place.owner_tenant_id, {slug for each in candidates.values() for slug in each})
    for shelf in nameless:
        pk = shelf.server.pk
        free = (slug for slug in candidates[pk] if taken.get(slug, pk) == pk)
        shelf.server.slug = next(free, None) or f"server-{pk.hex}"
        taken[shelf.server.slug] = pk


def _write(shelves: Sequence[_Shelf], words: Mapping[UUID, Words]) -> None:
    """Servers, their releases and the releases' tools. Keys between servers and versions are checked at the commit."""
    fresh = _Fresh(clock.now())
    earlier = _earlier_words(shelves, words)
    for shelf in shelves:
        assert shelf.words is not None
        latest = shelf.winner.latest
        shown, is_fresh = _release(shelf, latest, shelf.words, fresh)
        if is_fresh:
            shown.is_latest = not shelf.is_governed
        for row in shelf.winner.versions:
            if row is not latest and row.pk in earlier:
                _release(shelf, row, earlier[row.pk], fresh)
        if not shelf.is_governed:
            shelf.server.current_version_id = shown.pk
    kept = [shelf.server for shelf in shelves if not shelf.is_new]
    # Tools before their servers, so that search makes the documents of a server once.
    fresh.write()
    bulk.insert([shelf.server for shelf in shelves if shelf.is_new])
    bulk.insert(kept, update=_SERVER_FIELDS)


def _earlier_words(shelves: Iterable[_Shelf], words: Mapping[UUID, Words]) -> dict[UUID, Words]:
    """Versions before the latest that the server may not have yet: those that came along, and all of one that begins to win."""
    found: dict[UUID, Words] = {}
    missing: list[UUID] = []
    for shelf in shelves:
        for row in shelf.winner.versions:
            if row.pk in words:
                found[row.pk] = words[row.pk]
            elif shelf.begins:
                missing.append(row.pk)
    return found | _stored_words(missing)


def _release(shelf: _Shelf, row: SourceEntry, words: Words, fresh: _Fresh) -> tuple[ServerVersion, bool]:
    """The stored version with this content, or one more; and whether it is one more."""
    entry, label, digest = words.entry, row.version, words.digest
    version = shelf.stored.get((label, digest))
    if version is not None:
        message = entry.status_message[:500]
        if (version.upstream_status, version.status_message) != (row.status, message):
            version.upstream_status, version.status_message = row.status, message
            version.save(update_fields=["upstream_status", "status_message"])
        return version, False
    version = _version(
        id=uuid7(),
        server_id=shelf.server.pk,
        version=label,
        inventory_digest=digest,
        tool_count=len(words.tools) or None,
        resource_count=len(entry.resources) or None,
        prompt_count=len(entry.prompts) or None,
        capabilities=_capabilities(entry),
        released_at=entry.published_at or entry.updated_at,
        upstream_status=row.status,
        status_message=entry.status_message[:500],
        created_at=fresh.created_at,
    )
    shelf.stored[label, digest] = version
    fresh.add(version, row, words)
    return version, True


def _capabilities(entry: Entry) -> dict[str, Any]:
    return {name: {} for name in ("tools", "resources", "prompts", "tasks") if getattr(entry, name)}


def _mark_latest(shelves: Iterable[_Shelf]) -> None:
    """One latest version per server; of a governed one that is the version which was read from it."""
    listed = [shelf for shelf in shelves if not shelf.is_governed]
    known = {shelf.server.pk: shelf.server.current_version_id for shelf in listed if not shelf.is_new}
    current = [pk for pk in known.values() if pk is not None]
    if known:
        stale = ServerVersion.objects.filter(server_id__in=known, is_latest=True)
        stale.exclude(pk__in=current).update(is_latest=False)
        ServerVersion.objects.filter(pk__in=current, is_latest=False).update(is_latest=True)


def _store_entries(
    shelves: Iterable[_Shelf], changed: Collection[SourceEntry], old: Mapping[UUID, tuple[Any, ...]]
) -> None:
    """The entries with their server and whether they win; also those that were only met and changed their place."""
    rows: dict[UUID, SourceEntry] = {}
    for shelf in shelves:
        for position, each in enumerate(shelf.listed):
            moved = each.latest.server_id != shelf.server.pk or each.latest.wins != (position == 0)
            for row in each.versions:
                row.server_id, row.wins = shelf.server.pk, position == 0
                rows[row.pk] = row
            if moved and not each.is_taken:
                # Of an entry that was met only the latest version is in memory.
                others = SourceEntry.objects.filter(
                    source_id=each.latest.source_id, external_id=each.latest.external_id
                )
                others.update(server_id=shelf.server.pk, wins=position == 0)
    fields = {row.pk for row in changed}
    written = [row for row in rows.values() if row.pk in fields and "manifest" in row.__dict__]
    bulk.insert([row for row in written if row._state.adding])
    bulk.insert([row for row in written if not row._state.adding], update=_ENTRY_FIELDS)
    marked = [
        row
        for row in rows.values()
        if "manifest" not in row.__dict__
        and (row.pk in fields or (row.server_id, row.wins, row.is_latest, row.audience) != old.get(row.pk))
    ]
    bulk.update(marked, _ENTRY_MARKS)


def _settle_left(place: Place, homes: Collection[UUID]) -> None:
    """Servers of another audience that lost an entry to this one show the words of those that they keep."""
    moved = SourceEntry.objects.filter(server_id__in=homes).exclude(audience=place.audience)
    lost = dict(moved.exclude(server__source_entries__wins=True).values_list("server_id", "audience"))
    for server in Server.objects.filter(pk__in=lost):
        where = _PlaceOf(lost[server.pk], server.owner_tenant_id, server.visibility, server.allowed_teams)
        rows = list(SourceEntry.objects.filter(server=server).defer("manifest"))
        shelve(where, rows, [row for row in rows if row.is_latest], {})


def _hide_left(homes: Collection[UUID]) -> int:
    """Hide servers that no entry is any more, because their entries are others now. Returns how many."""
    left = Server.objects.filter(pk__in=homes, origin=Origin.IMPORTED, status=Status.LISTED, source_entries=None)
    return left.update(
        status=Status.REMOVED, upstream_status=UpstreamStatus.DELETED, registry_name="", updated_at=clock.now()
    )
