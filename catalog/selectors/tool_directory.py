"""Tools of all servers in one list: what they do, need and cost, and whether their definition is what was approved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload
from uuid import UUID

from catalog import wording
from catalog.facets import Facet, Query
from catalog.models import Server, Tool
from catalog.selectors import documents, extras
from catalog.selectors.documents import Match, Sql
from catalog.selectors.extras import PriceTag
from catalog.selectors.listing import visible_to
from catalog.selectors.search import FEW, Choice, Scene

# The order in which the documents' `facts` say them.
_FACTS = ("effect", "trust", "seen")
_DRIFTED = "(d.server_id, d.name) IN (SELECT t.server_id, t.tool_name FROM public.catalog_tooldrift t WHERE t.closed_at IS NULL)"


@dataclass(frozen=True, slots=True)
class ToolRow:
    """A tool in the directory. `seen` is live, declared, or drifted: its server says another definition than was approved."""

    tool: Tool
    server: Server
    seen: str
    price: PriceTag | None
    usable: bool


@dataclass(frozen=True, slots=True)
class _Group:
    effect: str
    trust: str
    seen: str
    price: str
    access: str
    number: int


@dataclass(frozen=True, eq=False)
class FoundTools(Sequence[ToolRow]):
    """A sequence, as paginators want one, with the counts of every facet."""

    scene: Scene
    query: Query

    def __len__(self) -> int:
        return sum(group.number for group in self._groups if not self._misses(group))

    def __iter__(self) -> Iterator[ToolRow]:
        return iter(self[:])

    @overload
    def __getitem__(self, wanted: int) -> ToolRow: ...
    @overload
    def __getitem__(self, wanted: slice) -> list[ToolRow]: ...
    def __getitem__(self, wanted: slice | int) -> list[ToolRow] | ToolRow:
        if isinstance(wanted, int):
            return self[wanted : wanted + 1][0]
        start, stop, _ = wanted.indices(len(self) if wanted.stop is None else max(wanted.stop, 0))
        return self._load(self._page(start, stop - start)) if stop > start else []

    def counts(self, facet: Facet) -> dict[str, int]:
        """How many tools each choice of a facet would show, with all other facets as they are."""
        found: Counter[str] = Counter()
        for group in self._groups:
            if set(self._misses(group)) <= {facet.name}:
                found[getattr(group, facet.name)] += group.number
        return {value: found[value] for value, _ in facet.choices}

    def choices(self, facet: Facet) -> list[Choice]:
        chosen = self.query.chosen.get(facet.name, ())
        return [
            Choice(value, facet.label_of(value), number, value in chosen)
            for value, number in self.counts(facet).items()
            if number or value in chosen
        ]

    @cached_property
    def _match(self) -> Match:
        """All words are wanted; words that no tool has are corrected."""
        terms = tuple(wording.terms_of(self.query.text))
        match = Match(self.query.text, terms)
        if not terms or self._number(match) >= FEW:
            return match
        unknown = documents.unknown_words(self.scene.viewer, terms, documents.TOOLS)
        return (
            Match(match.text, tuple(wording.corrected(terms, documents.similar_words(unknown)))) if unknown else match
        )

    def _number(self, match: Match) -> int:
        source, wanted = documents.readable(self.scene.viewer, documents.TOOLS), match.condition
        statement = f"SELECT count(*) FROM (SELECT FROM {source.text} WHERE {wanted.text} LIMIT {FEW}) t"
        return int(documents.rows(statement, source.values | wanted.values)[0][0])

    @cached_property
    def _groups(self) -> list[_Group]:
        if self._asks_nothing:
            return []
        source, wanted, live = self._source, self._match.condition, self._live
        found = documents.rows(
            f"SELECT d.facts, {live.text}, count(*) FROM {source.text} WHERE {wanted.text} GROUP BY 1, 2, 3, 4",
            source.values | wanted.values | live.values,
        )
        return [_group(*row) for row in found]

    @property
    def _asks_nothing(self) -> bool:
        return bool(self.query.text) and not self._match.terms

    @property
    def _source(self) -> Sql:
        return documents.readable(self.scene.viewer, documents.TOOLS)

    @cached_property
    def _live(self) -> Sql:
        """What is not part of a tool: whether it is paid, drifted, usable by this viewer."""
        paid, differing = _paid(self.scene)
        costs = "d.server_id = ANY(%(paid)s::uuid[])"
        if differing:
            costs = f"({costs}) <> ((d.server_id::text || '/' || d.name) = ANY(%(differing)s::text[]))"
        return Sql(
            f"{costs} AS paid, {_DRIFTED} AS drifted, d.server_id = ANY(%(usable)s::uuid[]) AS usable",
            {"paid": paid, "differing": differing, "usable": list(self.scene.usable)},
        )

    def _misses(self, group: _Group) -> list[str]:
        return [name for name, values in self.query.chosen.items() if getattr(group, name) not in values]

    def _page(self, start: int, size: int) -> list[tuple[Any, ...]]:
        if self._asks_nothing:
            return []
        source, wanted, live, order = self._source, self._match.condition, self._live, self._order
        where, values = "", {}
        if self.query.chosen:
            fitting = [
                f"{group.effect}/{group.trust}/{group.seen}/{group.price}/{group.access}"
                for group in self._groups
                if not self._misses(group)
            ]
            where, values = f"WHERE {_KEY} = ANY(%(fitting)s::text[])", {"fitting": fitting}
        return documents.rows(
            f"SELECT * FROM (SELECT d.tool_id, d.server_id, d.facts, {live.text}, d.name, d.name_key, d.words, d.popularity"
            f" FROM {source.text} WHERE {wanted.text}) d {where}"
            f" ORDER BY {order.text} LIMIT %(size)s OFFSET %(start)s",
            source.values | wanted.values | live.values | order.values | values | {"size": size, "start": start},
        )

    @property
    def _order(self) -> Sql:
        if self.query.order == "relevance" and self._match.terms:
            return Sql(
                "d.name_key = %(whole)s DESC,"
                f" ts_rank('{documents.WEIGHTS}', d.words, to_tsquery('english', %(ranking)s), 1) DESC,"
                " d.popularity DESC, d.name_key, d.tool_id",
                {"whole": self.query.text.lower(), "ranking": wording.ranking_of(self._match.terms)},
            )
        return Sql("d.name_key, d.tool_id")

    def _load(self, found: list[tuple[Any, ...]]) -> list[ToolRow]:
        tools = Tool.objects.in_bulk([row[0] for row in found])
        servers = visible_to(self.scene.viewer).in_bulk({row[1] for row in found})
        prices = extras.prices(servers, self.scene.viewer)
        loaded = []
        for tool_id, server_id, facts, _, drifted, usable, *_ in found:
            if tool_id in tools and server_id in servers:
                tool, tags = tools[tool_id], prices.get(server_id, extras.FREE)
                seen = "drifted" if drifted else facts.split("|")[2]
                loaded.append(ToolRow(tool, servers[server_id], seen, tags.of_tool(tool.name), usable))
        return loaded


# How the page's statement says what `_Group` says of a tool.
_KEY = (
    "concat_ws('/', coalesce(nullif(split_part(d.facts, '|', 1), ''), 'unknown'), split_part(d.facts, '|', 2),"
    " CASE WHEN d.drifted THEN 'drifted' ELSE split_part(d.facts, '|', 3) END,"
    " CASE WHEN d.paid THEN 'paid' ELSE 'free' END, CASE WHEN d.usable THEN 'usable' ELSE 'required' END)"
)


def tools(scene: Scene, query: Query) -> FoundTools:
    """Tools that match, in the order asked for. `query` is parsed with `known=facets.TOOL_FACETS`."""
    return FoundTools(scene, query)


def _group(facts: str, paid: bool, drifted: bool, usable: bool, number: int) -> _Group:
    effect, trust, seen = facts.split("|")
    return _Group(
        effect=effect or "unknown",
        trust=trust,
        seen="drifted" if drifted else seen,
        price="paid" if paid else "free",
        access="usable" if usable else "required",
        number=number,
    )


def _paid(scene: Scene) -> tuple[list[UUID], list[str]]:
    """Servers of which a call costs something, and the tools ("server id/name") of which the opposite is true."""
    governed = visible_to(scene.viewer).filter(provider__isnull=False)
    priced = extras.prices(governed.values_list("pk", flat=True), scene.viewer)
    paid = {server_id for server_id, tags in priced.items() if _costs(tags.whole)}
    differing = [
        f"{server_id}/{name}"
        for server_id, tags in priced.items()
        for name, tag in tags.tools.items()
        if _costs(tag) != (server_id in paid)
    ]
    return list(paid), differing


def _costs(tag: PriceTag | None) -> bool:
    return tag is not None and tag.amount > 0
