"""Taking what sources list into the catalog: entries in, servers out.

A source's entry is kept as it was given (`SourceEntry`); entries that are the same server share one row of `Server`, which
shows the words of the best of them (`catalog.merge.rules`). Work is done in batches, each in a transaction of its own: an
import that stops is taken up by running it again, and what did not change costs the comparison of a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.db import connection, models, transaction

from catalog import digests
from catalog.choices import SourceKind, SourceTrust, UpstreamStatus, Visibility
from catalog.formats.normal import Entry, Problem
from catalog.models import SourceEntry
from catalog.services import indexing, shelving
from catalog.services.words import Words
from core import bulk, clock
from core.collector import rare_collections, short_turns
from core.errors import InvalidError
from core.ids import uuid7
from tenants.context import platform_scope

BATCH = 1_000
NAME_CHARS = 300
VERSION_CHARS = 255
MANIFEST_BYTES = 256 * 1024
# One import writes at a time, so that two sources that list the same server find each other.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('marketplace.catalog.import'))"
_STATUSES = frozenset(UpstreamStatus.values)
_source_entry = bulk.maker(SourceEntry)


@dataclass(frozen=True, slots=True)
class SourceRef:
    """Where entries come from and who may see them. `priority`: the higher wins between equals.

    `proves_namespaces` None: by kind and trust; a registry that checks namespaces counts when the operator trusts it.
    """

    source_id: UUID
    name: str
    kind: str
    trust: str = SourceTrust.COMMUNITY
    owner_tenant_id: UUID | None = None
    visibility: str = Visibility.PUBLIC
    allowed_teams: tuple[UUID, ...] = ()
    priority: int = 0
    proves_namespaces: bool | None = None

    @property
    def audience(self) -> str:
        """Who may see the entries, as one text: only entries of one audience are merged."""
        if self.visibility == Visibility.PUBLIC:
            return "public"
        owner = str(self.owner_tenant_id or "platform")
        if self.visibility != Visibility.GROUP:
            return f"{owner}:{self.visibility}"
        teams = ",".join(str(team) for team in self.teams)
        return f"{owner}:{hashlib.sha256(teams.encode()).hexdigest()[:24]}"

    @property
    def teams(self) -> list[UUID]:
        return sorted(set(self.allowed_teams)) if self.visibility == Visibility.GROUP else []

    @property
    def proves(self) -> bool:
        if self.proves_namespaces is not None:
            return self.proves_namespaces
        return self.kind == SourceKind.OFFICIAL and self.trust != SourceTrust.COMMUNITY


@dataclass(slots=True)
class ImportReport:
    """`created`, `updated` and `unchanged` count entries (a version of a listing each), the others servers."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    servers: int = 0
    merged: int = 0
    removed: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def taken(self) -> int:
        return self.created + self.updated + self.unchanged

    def add(self, other: ImportReport) -> None:
        for name in ("created", "updated", "unchanged", "servers", "merged", "removed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems


@dataclass(frozen=True, slots=True)
class _Arrival:
    words: Words
    digest: str


@dataclass(slots=True)
class _Batch:
    """The storable entries of a batch by name and version; of two with the same the later one counts."""

    is_full: bool
    arrivals: dict[tuple[str, str], _Arrival] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _Coming:
    """A batch that is worked out when there is time for it, at the latest when it is asked for."""

    def __init__(self, source: SourceRef, entries: list[Entry]) -> None:
        self._source, self._entries = source, entries
        self._batch: _Batch | None = None
        self._failure: Exception | None = None

    def work_out(self, *, is_fresh: bool) -> None:
        """`is_fresh` says that most entries are not known yet: then everything that will be stored of them is worked out."""
        try:
            self._batch = _arrivals(self._source, self._entries)
            for arrival in self._batch.arrivals.values() if is_fresh else ():
                arrival.words.work_out()
        except Exception as error:  # noqa: BLE001 - what came before it is stored first
            self._failure = error

    @property
    def batch(self) -> _Batch:
        if self._batch is None and self._failure is None:
            self.work_out(is_fresh=False)
        if self._failure is not None:
            raise self._failure
        assert self._batch is not None  # either of both
        return self._batch


def take(
    source: SourceRef, entries: Iterable[Entry], *, on_batch: Callable[[ImportReport], None] | None = None
) -> ImportReport:
    """Store what a source lists; `on_batch` hears of each batch once it is stored.

    Raises InvalidError when the source would show to more people than its owner may reach.
    """
    _check(source)
    report = ImportReport()
    with rare_collections(), short_turns(), indexing.Builder() as builder:
        for coming, following in _batches(source, iter(entries)):
            batch = coming.batch

            def meanwhile(following: _Coming | None = following) -> None:
                if following is not None:
                    following.work_out(is_fresh=report.unchanged * 2 <= report.taken)

            with platform_scope(), transaction.atomic():
                if batch.is_full:
                    builder.put_off()
                taken = _take_batch(source, batch, meanwhile)
            builder.build()
            report.add(taken)
            if on_batch is not None:
                on_batch(taken)
    return report


def withdraw(source: SourceRef, names: Collection[str]) -> ImportReport:
    """The source does not list these names any more: what nobody else lists is hidden."""
    report = ImportReport()
    stream = iter(sorted(names))
    while batch := list(islice(stream, BATCH)):
        with platform_scope(), transaction.atomic():
            lock()
            rows = _known(source, batch)
            gone = [row for row in rows if row.status != UpstreamStatus.DELETED]
            for row in gone:
                # A blank digest lets the entry be taken again when the source lists it once more.
                row.status, row.digest = UpstreamStatus.DELETED, ""
            outcome = shelving.shelve(source, rows, gone, {})
            report.updated += len(gone)
            report.removed += outcome.removed
    return report


def names_of(source_id: UUID) -> set[str]:
    """Every name that the source lists at present, for finding those that it lists no more."""
    with platform_scope():
        rows = SourceEntry.objects.filter(source_id=source_id).exclude(status=UpstreamStatus.DELETED)
        return set(rows.values_list("external_id", flat=True))


def take_again(source: SourceRef) -> ImportReport:
    """Apply changed settings of a source (audience, trust, priority) to everything that it lists, from what is stored."""
    with platform_scope():
        stale = SourceEntry.objects.filter(source_id=source.source_id).exclude(status=UpstreamStatus.DELETED)
        manifests = list(stale.order_by("external_id", "version").values_list("manifest", flat=True))
    return take(source, (Entry.from_dict(manifest) for manifest in manifests))


def _check(source: SourceRef) -> None:
    if source.visibility == Visibility.TENANT:
        raise InvalidError(
            "Entries of a source belong to no single team.",
            code="catalog.source_visibility",
            next_step="Choose the teams that see it.",
            field="visibility",
        )
    if source.owner_tenant_id is not None and source.visibility == Visibility.PUBLIC:
        raise InvalidError(
            "A source of an organisation shows to that organisation only.",
            code="catalog.source_visibility",
            next_step="Choose the organisation or some of its teams.",
            field="visibility",
        )


def lock() -> None:
    """Keep imports out until the transaction ends: they write rows of servers that they have read before."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)


def _batches(source: SourceRef, stream: Iterator[Entry]) -> Iterator[tuple[_Coming, _Coming | None]]:
    """What a source lists in batches, each with the one after it, which can be worked out while the first is being stored."""
    entries = list(islice(stream, BATCH))
    coming: _Coming | None = _Coming(source, entries)
    failure: Exception | None = None
    while coming is not None:
        following = None
        if len(entries) == BATCH:
            try:
                entries = list(islice(stream, BATCH))
            except Exception as error:  # noqa: BLE001 - what came before it is stored first
                entries, failure = [], error
            following = _Coming(source, entries) if entries else None
        yield coming, following
        coming = following
    if failure is not None:
        raise failure


def _take_batch(source: SourceRef, batch: _Batch, meanwhile: Callable[[], None]) -> ImportReport:
    report = ImportReport(problems=batch.problems)
    arrivals = batch.arrivals
    lock()
    rows = _known(source, {name for name, _ in arrivals})
    by_key = {(row.external_id, row.version): row for row in rows}
    now = clock.now()
    changed: list[SourceEntry] = []
    same: list[UUID] = []
    words: dict[UUID, Words] = {}
    for key, arrival in arrivals.items():
        row = by_key.get(key)
        if row is not None and row.digest == arrival.digest:
            same.append(row.pk)
            continue
        if row is None:
            row = _source_entry(id=uuid7(), source_id=source.source_id, external_id=key[0], version=key[1])
            rows.append(row)
            report.created += 1
        else:
            report.updated += 1
        _fill(row, source, arrival, now)
        changed.append(row)
        words[row.pk] = arrival.words
    report.unchanged = len(same)
    if same:
        SourceEntry.objects.filter(bulk.any_of("pk", same, models.UUIDField())).update(seen_at=now)
    outcome = shelving.shelve(source, rows, changed, words, meanwhile)
    report.servers, report.merged, report.removed = outcome.created, outcome.merged, outcome.removed
    return report


def _known(source: SourceRef, names: Collection[str]) -> list[SourceEntry]:
    rows = SourceEntry.objects.filter(bulk.any_of("external_id", names, models.TextField()), source_id=source.source_id)
    return list(rows.defer("manifest").order_by("pk"))


def _arrivals(source: SourceRef, entries: list[Entry]) -> _Batch:
    mark = f"{source.name}|{source.kind}|{source.trust}|{source.priority}|{source.audience}|{source.proves}|"
    batch = _Batch(len(entries) == BATCH)
    for entry in entries:
        words = Words(entry)
        try:
            text = _storable(words)
        except ValueError as error:
            batch.problems.append(Problem(source.name, entry.name[:NAME_CHARS], "", str(error)))
            continue
        batch.arrivals[entry.name, entry.version] = _Arrival(words, digests.of_text(mark + text))
    return batch


def _storable(words: Words) -> str:
    """The entry as JSON text. Raises ValueError, saying why, for what Postgres cannot hold as it is."""
    if not 0 < len(words.entry.name) <= NAME_CHARS:
        raise ValueError(f"The name must have 1 to {NAME_CHARS} characters.")
    if len(words.entry.version) > VERSION_CHARS:
        raise ValueError(f"The version has more than {VERSION_CHARS} characters.")
    text = words.manifest
    if len(text) > MANIFEST_BYTES:
        raise ValueError(f"The entry is larger than {MANIFEST_BYTES // 1024} KiB.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("The entry holds half a character that cannot be stored.") from error
    if "\\u0000" in text:
        raise ValueError("The entry holds a NUL character that cannot be stored.")
    return text


def _fill(row: SourceEntry, source: SourceRef, arrival: _Arrival, now: datetime) -> None:
    entry = arrival.words.entry
    row.source_name, row.source_kind, row.source_trust = source.name[:100], source.kind, source.trust
    row.source_priority, row.audience = source.priority, source.audience
    row.registry_name = entry.registry_name
    row.digest, row.manifest = arrival.digest, arrival.words.manifest
    row.identity = arrival.words.keys
    row.is_proven = bool(entry.registry_name) and source.proves
    row.status = entry.status if entry.status in _STATUSES else UpstreamStatus.ACTIVE
    row.says_latest, row.published_at, row.seen_at = entry.is_latest, entry.published_at, now
