"""Searching the catalog: words, facets with counts, sorts, and the governance that a card needs.

Pages and the API use `search` (its answer carries page, counts and choices), `count_choices`, `totals`, the lists,
`suggestions.suggest` and `tool_directory.tools`. Everything is counted over documents that the viewer may see, and rows are
loaded through `visible_to`, so the door is passed twice.

One statement counts all facets. A facet with a choice is counted with its own choices left out and all others kept, and so the
statement reads what misses the choices of one facet as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import overload
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from catalog import facets, wording
from catalog.cards import CALLABLE, HEALTH_FRESH
from catalog.facets import Facet, Query
from catalog.models import Server, Tool
from catalog.selectors import documents
from catalog.selectors.documents import EVERYTHING, Counts, Match, Sql
from catalog.selectors.listing import visible_to
from catalog.types import Viewer
from core import clock
from tenants.models import Team

# Facets of text columns with too many values to be part of the groups.
COLUMNS = {"publisher": "publisher", "namespace": "namespace"}
# With fewer servers than this, words that nobody uses are corrected, and then servers with some of the words follow.
FEW = 10


@dataclass(frozen=True, slots=True)
class Scene:
    """Who searches, and what their organisation may use."""

    viewer: Viewer
    usable: AbstractSet[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Totals:
    servers: int
    tools: int
    providers: int
    sources: int


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a facet and how many servers it would show."""

    value: str
    label: str
    count: int
    chosen: bool = False


@dataclass(frozen=True, eq=False)
class Found(Sequence[Server]):
    """What a search found; the database is asked when something of it is read.

    A sequence, as paginators want one, of all servers that match words and choices. Slices are loaded with their governance.
    """

    scene: Scene
    query: Query
    moment: datetime = field(default_factory=clock.now)
    _counted: dict[str, Counts] = field(default_factory=dict, repr=False)  # by the facet whose choices are left out

    def __len__(self) -> int:
        return 0 if self._finds_nothing else self._count().total

    @property
    def corrected(self) -> tuple[str, ...]:
        """Words that were looked for as well, because nobody uses one that was typed."""
        typed = {term.word: len(term.others) for term in wording.terms_of(self.query.text)}
        return tuple(word for term in self._match.terms for word in term.others[typed[term.word] :])

    @property
    def loose(self) -> bool:
        """Whether servers are shown that have only some of the words."""
        return self._match.loose

    @overload
    def __getitem__(self, wanted: int) -> Server: ...
    @overload
    def __getitem__(self, wanted: slice) -> list[Server]: ...
    def __getitem__(self, wanted: slice | int) -> list[Server] | Server:
        if isinstance(wanted, int):
            return self[wanted : wanted + 1][0]
        start, stop, _ = wanted.indices(len(self) if wanted.stop is None else max(wanted.stop, 0))
        if stop <= start or self._finds_nothing:
            return []
        match = self._match
        ids = documents.page(self.scene.viewer, match, self._where(), self._order(match), start, stop - start)
        return load(self.scene.viewer, ids)

    def __iter__(self) -> Iterator[Server]:
        return iter(self[:])

    def counts(self, facet: Facet) -> dict[str, int]:
        """How many servers each choice of a facet would show, with all other facets as they are."""
        if self._finds_nothing:
            return {value: 0 for value, _ in facet.choices}
        chosen = self.query.chosen.get(facet.name, ())
        if facet.name in COLUMNS and (chosen or not self.query.text):
            return self._open_counts(facet)
        found = self._count(but=facet.name if chosen else "").by_facet[facet.name]
        if not facet.open:
            return {value: found[value] for value, _ in facet.choices}
        if facet.name == "team":
            found = Counter({slug: found[str(team)] for team, slug in self._teams.items()})
        offered = [value for value, number in found.most_common() if value and number][: facets.OPEN_OFFERED_MAX]
        return {value: found[value] for value in dict.fromkeys([*chosen, *offered])}

    def choices(self, facet: Facet) -> list[Choice]:
        """The choices of a facet that would show something, and the chosen ones."""
        chosen = self.query.chosen.get(facet.name, ())
        return [
            Choice(value, facet.label_of(value), number, value in chosen)
            for value, number in self.counts(facet).items()
            if number or value in chosen
        ]

    @cached_property
    def _match(self) -> Match:
        """What is looked for: all words; when few have them, corrected ones; when few have those, some of the words."""
        terms = tuple(wording.terms_of(self.query.text))
        match = Match(self.query.text, terms)
        if not terms or self._has_enough(match):
            return match
        unknown = documents.unknown_words(self.scene.viewer, terms)
        if unknown:
            match = Match(match.text, tuple(wording.corrected(terms, documents.similar_words(unknown))))
            self._counted.clear()
        if len(terms) > 1 and not self._has_enough(match):
            match = Match(match.text, match.terms, loose=True)
            self._counted.clear()
        return match

    def _has_enough(self, match: Match) -> bool:
        if self.query.chosen:
            return documents.number(self.scene.viewer, match, FEW) >= FEW
        # What is counted now is asked for in a moment anyway.
        self._counted.update(self._read_counts(match))
        return self._counted[""].total >= FEW

    @property
    def _finds_nothing(self) -> bool:
        """Something was typed, and nothing of it is a word."""
        return bool(self.query.text) and not self._match.terms

    def _count(self, but: str = "") -> Counts:
        match = self._match  # settling it may count
        if not self._counted:
            self._counted.update(self._read_counts(match))
        return self._counted[but]

    def _read_counts(self, match: Match) -> dict[str, Counts]:
        choices = {name: self._condition(name, values) for name, values in self.query.chosen.items()}
        scene = self.scene
        return documents.count(scene.viewer, scene.usable, match, choices, self.moment - HEALTH_FRESH)

    @cached_property
    def _teams(self) -> Mapping[UUID | None, str]:
        if self.scene.viewer.tenant_id is None:
            return {}
        return dict(Team.objects.filter(tenant_id=self.scene.viewer.tenant_id).values_list("pk", "slug"))

    @cached_property
    def _top_values(self) -> Mapping[str, dict[str, int]]:
        """The most frequent values of open facets of which nothing was chosen."""
        columns = [column for name, column in COLUMNS.items() if not self.query.chosen.get(name)]
        by_mask = self.query.chosen.keys() <= documents.BITS.keys()
        return documents.top_values(
            self.scene.viewer, columns, self._match, self._where(), facets.OPEN_OFFERED_MAX, by_mask=by_mask
        )

    def _open_counts(self, facet: Facet) -> dict[str, int]:
        column = COLUMNS[facet.name]
        if not self.query.chosen.get(facet.name):
            return self._top_values[column]
        where = self._where(but=facet.name)
        found = dict(documents.values_of(self.scene.viewer, column, self._match, where, facets.OPEN_OFFERED_MAX))
        chosen = [value for value in self.query.chosen.get(facet.name, ()) if value not in found]
        if chosen:
            named = documents.all_of([where, Sql(f"d.{column} = ANY(%(named)s::text[])", {"named": chosen})])
            found |= dict.fromkeys(chosen, 0)
            found |= dict(documents.values_of(self.scene.viewer, column, self._match, named, len(chosen)))
        return found

    def _where(self, but: str = "") -> Sql:
        """The choices of all facets, or of all but one."""
        chosen = {name: values for name, values in self.query.chosen.items() if name != but}
        return documents.all_of(self._condition(name, values) for name, values in chosen.items())

    def _condition(self, name: str, values: tuple[str, ...]) -> Sql:
        if name in documents.BITS:
            return documents.chosen_bits(name, values)
        if name in COLUMNS:
            return Sql(f"d.{COLUMNS[name]} = ANY(%(chosen_{name})s::text[])", {f"chosen_{name}": list(values)})
        return self._live_where(name, values)

    def _live_where(self, name: str, values: tuple[str, ...]) -> Sql:
        """The choices of a facet that depends on the viewer or on the moment."""
        if name == "health":
            health = documents.health_as_of(self.moment - HEALTH_FRESH)
            return Sql(f"{health.text} = ANY(%(healths)s::text[])", health.values | {"healths": list(values)})
        if name == "repository":
            return Sql("d.repository = ANY(%(repositories)s::text[])", {"repositories": list(values)})
        if name == "team":
            teams = [team for team, slug in self._teams.items() if slug in values]
            return Sql(
                "d.owner_tenant_id = %(ours)s::uuid AND d.owner_team_id = ANY(%(chosen_teams)s::uuid[])",
                {"ours": self.scene.viewer.tenant_id, "chosen_teams": teams},
            )
        if len(values) > 1:  # both of two
            return EVERYTHING
        if name == "access":
            sign = "" if values[0] == "usable" else "NOT "
            return Sql(f"{sign}d.server_id = ANY(%(usable)s::uuid[])", {"usable": list(self.scene.usable)})
        sign = "" if values[0] == "ours" else "NOT "
        return Sql(f"{sign}coalesce(d.owner_tenant_id = %(ours)s::uuid, FALSE)", {"ours": self.scene.viewer.tenant_id})

    def _order(self, match: Match) -> Sql:
        if self.query.order == "relevance" and match.terms:
            return match.order
        # Nothing is rated before there are reviews; what is used most is the best known of quality until then.
        return Sql(_ORDERS.get(self.query.order, _ORDERS["name"]))


# One reading of the index of what trends most, looked up by each document; everything else follows by its popularity.
_TRENDS = (
    "(SELECT coalesce(jsonb_object_agg(s.id::text, s.trend), '{}') FROM (SELECT id, trend FROM public.catalog_server"
    " WHERE trend > 0 ORDER BY trend DESC, name LIMIT 1000) s)"
)
_ORDERS = {
    "trend": f"coalesce(({_TRENDS} ->> d.server_id::text)::bigint, 0) DESC, d.popularity DESC, d.name_key, d.server_id",
    "name": "d.name_key, d.server_id",
    "updated": "d.changed_at DESC NULLS LAST, d.name_key, d.server_id",
    "popularity": "d.popularity DESC, d.name_key, d.server_id",
    "rating": "d.popularity DESC, d.name_key, d.server_id",
}


def search(scene: Scene, query: Query) -> Found:
    """Servers that match, in the order asked for, with what a card shows of them, and the counts of every facet."""
    return Found(scene, query)


def count_choices(scene: Scene, query: Query, facet: Facet) -> dict[str, int]:
    """Counts of one facet. Who needs several asks the answer of `search` for them: it counts all at once."""
    return search(scene, query).counts(facet)


def totals(viewer: Viewer) -> Totals:
    """What there is for this viewer; providers are organisations that publish here, sources list what others publish."""
    providers = visible_to(viewer).filter(provider__isnull=False).aggregate(found=Count("provider", distinct=True))
    servers, tools, sources = documents.sums(viewer)
    return Totals(servers, tools, providers["found"], sources)


def list_usable(scene: Scene, most: int) -> QuerySet[Server]:
    """Listed servers that the organisation has a live right on."""
    rows = visible_to(scene.viewer).filter(pk__in=scene.usable, status__in=CALLABLE)
    return with_governance(rows).order_by("name", "pk")[:most]


def featured(scene: Scene, most: int) -> list[Server]:
    """What the operators recommend, the most used first."""
    return search(scene, Query(chosen={"featured": ("yes",)}, sort="popularity"))[:most]


def verified(scene: Scene, most: int) -> list[Server]:
    """Servers that the operators verified, the most used first."""
    return search(scene, Query(chosen={"verified": ("yes",)}, sort="popularity"))[:most]


def recently_updated(scene: Scene, most: int) -> list[Server]:
    return search(scene, Query(sort="updated"))[:most]


def load(viewer: Viewer, ids: Iterable[UUID]) -> list[Server]:
    """Servers in this order, with their governance, as far as the viewer may see them."""
    wanted = list(ids)
    rows = {row.pk: row for row in with_governance(visible_to(viewer).filter(pk__in=wanted))}
    return [rows[each] for each in wanted if each in rows]


def with_governance(rows: QuerySet[Server]) -> QuerySet[Server]:
    """Add `side_effects` (what its tools may do) and `undeclared_count` (tools of which that is not declared)."""
    tools = Tool.objects.filter(version=OuterRef("current_version")).order_by()
    undeclared = tools.filter(side_effect="").values("version").annotate(number=Count("pk")).values("number")
    return rows.annotate(
        side_effects=ArraySubquery(tools.exclude(side_effect="").values("side_effect").distinct()),
        undeclared_count=Coalesce(Subquery(undeclared), 0),
    )
