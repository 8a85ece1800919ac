"""The search documents of the catalog, asked in SQL: who may see which, what matches, how it is counted and ordered.

A document is made of its server by the triggers of `catalog/migrations/*_search.py`. Documents of what everybody may see and all
others are in partitions of their own, and the parts are asked by name. That is what makes search fast behind row policies:
Postgres uses no text index on a guarded table, because the operators of full text are not leakproof, and there is nothing to
guard in what everybody may see. The other part is guarded, and small for each organisation.

`readable` says in SQL what `selectors.listing.visible_to` says for servers; a test compares the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from catalog import facets, wording
from catalog.choices import Health, Status, Visibility
from catalog.types import Viewer
from catalog.wording import Term

# Tables of documents; each has its `_public` and `_private` part.
SERVERS, TOOLS = "catalog_searchdocument", "catalog_tooldocument"
# D, C, B, A: descriptions, tools, tags, names.
WEIGHTS = "{0.05, 0.3, 0.5, 1.0}"


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of a statement and its parameters by name."""

    text: str
    values: dict[str, Any] = field(default_factory=dict)


EVERYTHING = Sql("TRUE")


# Where the bits of a facet begin in the documents' mask; its choices follow in their order. The trigger writes them.
_FIRST_BITS = {
    "category": 0, "trust": 8, "auth": 12, "policy": 17, "transport": 19, "gateway": 22, "decidable": 24, "inventory": 26,
    "source": 30, "standing": 36, "verified": 39, "featured": 41, "scope": 42, "package": 46,
}  # fmt: skip
BITS: dict[str, dict[str, int]] = {
    name: {value: 1 << first + place for place, (value, _) in enumerate(facets.BY_NAME[name].choices)}
    for name, first in _FIRST_BITS.items()
}
# Facets that are counted together: few enough values in each part, so that the groups of a part stay few.
_PARTS = (
    ("category", "auth", "transport", "gateway"),
    ("trust", "policy", "decidable", "verified", "featured", "scope"),
    ("inventory", "source", "standing", "package"),
)
_MASKS = tuple(sum(bit for name in part for bit in BITS[name].values()) for part in _PARTS)


@dataclass(slots=True)
class Counts:
    """How many servers there are in all, and of each value of each facet."""

    total: int = 0
    by_facet: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in facets.BY_NAME})

    def add(self, kind: int, columns: Sequence[Any]) -> None:
        """Take in a group: its columns are the three parts of the mask, what else groups are made of, and a number."""
        *masks, health, usable, ours, team, repository, publisher, namespace, number = columns
        part = _GROUPINGS.get(kind)
        if part is not None:
            _add_bits(self.by_facet, part, masks[part], number)
            self.total += number if part == 0 else 0
        elif kind in _TEXTS:
            self.by_facet[_TEXTS[kind]][repository or publisher or namespace or ""] += number
        else:
            self.by_facet["health"][health] += number
            self.by_facet["access"]["usable" if usable else "required"] += number
            self.by_facet["owner"]["ours" if ours else "others"] += number
            self.by_facet["team"][str(team or "")] += number


@dataclass(frozen=True, slots=True)
class Match:
    """What the words of a search ask for. `loose` accepts documents with some of the words."""

    text: str = ""
    terms: tuple[Term, ...] = ()
    loose: bool = False

    @property
    def condition(self) -> Sql:
        if not self.text:
            return EVERYTHING
        wanted = wording.any_of(self.terms) if self.loose else wording.all_of(self.terms)
        return Sql("d.words @@ to_tsquery('english', %(wanted)s)", {"wanted": wanted})

    @property
    def order(self) -> Sql:
        """The best match first: a whole name, the number of words that are there, then the rank by where they are."""
        values: dict[str, Any] = {"whole": self.text.lower(), "ranking": wording.ranking_of(self.terms)}
        found = ""
        if self.loose:
            values |= {f"term{number}": term.tsquery for number, term in enumerate(self.terms)}
            each = (f"(d.words @@ to_tsquery('english', %(term{number})s))::int" for number in range(len(self.terms)))
            found = f"{' + '.join(each)} DESC,"
        return Sql(
            f"(d.name_key = %(whole)s OR d.slug = %(whole)s) DESC, {found}"
            f" ts_rank('{WEIGHTS}', d.words, to_tsquery('english', %(ranking)s), 1) * (1 + d.weight) DESC,"
            " d.popularity DESC, d.name_key, d.server_id",
            values,
        )


def readable(viewer: Viewer, table: str = SERVERS) -> Sql:
    """The documents that this viewer may see, as `d`."""
    public, others = f"SELECT * FROM public.{table}_public", f"SELECT * FROM public.{table}_private p"
    if viewer.platform:
        return Sql(f"({public} UNION ALL {others}) d")
    if viewer.tenant_id is None:
        return Sql(f"({public}) d")
    own = (
        f"{others} WHERE p.owner_tenant_id = %(tenant)s::uuid AND p.status <> '{Status.REMOVED}'"
        f" AND (p.visibility <> '{Visibility.TENANT}' OR p.owner_team_id IS NULL OR p.owner_team_id = ANY(%(teams)s::uuid[]))"
        f" AND (p.visibility <> '{Visibility.GROUP}' OR p.allowed_teams && %(teams)s::uuid[])"
    )
    return Sql(f"({public} UNION ALL {own}) d", {"tenant": viewer.tenant_id, "teams": list(viewer.team_ids)})


def health_as_of(fresh_since: datetime) -> Sql:
    """The measured state; an old measurement says nothing of the present."""
    return Sql(
        f"CASE WHEN d.health_checked_at >= %(fresh_since)s::timestamptz THEN d.health ELSE '{Health.UNKNOWN}' END",
        {"fresh_since": fresh_since},
    )


def count(
    viewer: Viewer, usable: Iterable[UUID], match: Match, choices: Mapping[str, Sql], fresh_since: datetime
) -> dict[str, Counts]:
    """Everything that matches, counted for every facet in one reading. Teams are counted by their ids.

    `choices` are the conditions of facets of which something was chosen. Under a facet's name is what there is with its own
    choices left out, of that facet alone; under no name what there is with all choices, of every facet.
    """
    source, wanted, health = readable(viewer), match.condition, health_as_of(fresh_since)
    missed, near = _missed(choices.values())
    personal, values = _personal(viewer, usable)
    # Without words to search for everything matches, and so many different texts are counted faster apart (`top_values`).
    texts = "d.publisher, d.namespace" if match.text else "NULL::text AS publisher, NULL::text AS namespace"
    # Most servers are like many others in all that is left then: they are put together before they are counted seven ways.
    number, alike = ("1", "") if match.text else ("count(*)::integer", " GROUP BY d.mask, 2, 3, 4, 5, 6, d.repository")
    a, b, c = _MASKS
    found = rows(
        "SELECT kind, missed, a, b, c, health, usable, ours, team, repository, publisher, namespace, number FROM ("
        "SELECT y.*, row_number() OVER (PARTITION BY y.kind, y.missed ORDER BY y.number DESC, y.publisher, y.namespace)"
        f" AS place FROM (SELECT GROUPING({_GROUPED}) AS kind, x.missed, {_GROUPED}, x.usable, x.ours, x.team,"
        f" sum(x.number)::bigint AS number FROM (SELECT w.*, w.mask & {a} AS a, w.mask & {b} AS b, w.mask & {c} AS c FROM ("
        f"SELECT d.mask, {missed.text} AS missed, {health.text} AS health, {personal}, d.repository, {texts},"
        f" {number} AS number FROM {source.text} WHERE {wanted.text} AND {near.text}{alike}) w) x"
        " GROUP BY GROUPING SETS ((x.missed, x.a), (x.missed, x.b), (x.missed, x.c),"
        " (x.missed, x.health, x.usable, x.ours, x.team), (x.missed, x.repository), (x.missed, x.publisher),"
        " (x.missed, x.namespace))) y) z"
        " WHERE kind NOT IN (%(publisher)s, %(namespace)s) OR missed = 0 AND place <= %(most)s",
        {"most": facets.OPEN_OFFERED_MAX + 1}
        | {name: kind for kind, name in _TEXTS.items()}
        | source.values | wanted.values | health.values | missed.values | near.values | values,
    )  # fmt: skip
    by_place = {0: Counts(), **{1 << place: Counts() for place in range(len(choices))}}
    for kind, place, *columns in found:
        by_place[place].add(kind, columns)
    whole, *without = by_place.values()
    for name, missing in zip(choices, without, strict=True):
        missing.by_facet[name] += whole.by_facet[name]
    return {"": whole, **dict(zip(choices, without, strict=True))}


def _missed(choices: Collection[Sql]) -> tuple[Sql, Sql]:
    """Which of these conditions does not hold, a bit for each; and that it is one at most."""
    if not choices:
        return Sql("0"), EVERYTHING
    values = all_of(choices).values
    bits = " + ".join(f"CASE WHEN {each.text} THEN 0 ELSE {1 << place} END" for place, each in enumerate(choices))
    allowed = ", ".join(str(each) for each in (0, *(1 << place for place in range(len(choices)))))
    return Sql(f"({bits})", values), Sql(f"({bits}) IN ({allowed})", values)


def _personal(viewer: Viewer, usable: Iterable[UUID]) -> tuple[str, dict[str, Any]]:
    """What the counts of personal facets need; constants where it is the same for all documents."""
    ids = list(usable)
    access = "d.server_id = ANY(%(usable)s::uuid[])" if ids else "FALSE"
    if viewer.tenant_id is None:
        return f"{access} AS usable, FALSE AS ours, NULL::uuid AS team", {"usable": ids}
    columns = (
        f"{access} AS usable, coalesce(d.owner_tenant_id = %(ours)s::uuid, FALSE) AS ours,"
        " CASE WHEN d.owner_tenant_id = %(ours)s::uuid THEN d.owner_team_id END AS team"
    )
    return columns, {"usable": ids, "ours": viewer.tenant_id}


# GROUPING() sets a bit for each expression that a row is not grouped by, the first one's the highest.
_GROUPED = "x.a, x.b, x.c, x.health, x.repository, x.publisher, x.namespace"
_GROUPINGS = {0b0111111: 0, 0b1011111: 1, 0b1101111: 2}
_TEXTS = {0b1111011: "repository", 0b1111101: "publisher", 0b1111110: "namespace"}


def _add_bits(counters: dict[str, Counter[str]], part: int, mask: int, number: int) -> None:
    for name in _PARTS[part]:
        for value, bit in BITS[name].items():
            if mask & bit:
                counters[name][value] += number


def chosen_bits(name: str, values: Iterable[str]) -> Sql:
    """Any of these values of a facet that is part of the mask."""
    return Sql(f"d.mask & {sum(BITS[name][value] for value in set(values))} <> 0")


def number(viewer: Viewer, match: Match, most: int) -> int:
    """How many match, counted no further than `most`."""
    source, wanted = readable(viewer), match.condition
    statement = f"SELECT count(*) FROM (SELECT FROM {source.text} WHERE {wanted.text} LIMIT {most}) t"
    return int(rows(statement, source.values | wanted.values)[0][0])


def page(viewer: Viewer, match: Match, where: Sql, order: Sql, start: int, size: int) -> list[UUID]:
    """The servers of one page, in order."""
    source, wanted = readable(viewer), match.condition
    found_rows = rows(
        f"SELECT d.server_id FROM {source.text} WHERE {wanted.text} AND {where.text}"
        f" ORDER BY {order.text} LIMIT %(size)s OFFSET %(start)s",
        source.values | wanted.values | where.values | order.values | {"size": size, "start": start},
    )
    return [row[0] for row in found_rows]


def values_of(viewer: Viewer, column: str, match: Match, where: Sql, most: int) -> list[tuple[str, int]]:
    """The most frequent values of a column of text in what matches."""
    source, wanted = readable(viewer), match.condition
    return [
        (row[0], row[1])
        for row in rows(
            f"SELECT d.{column}, count(*) FROM {source.text} WHERE {wanted.text} AND {where.text} AND d.{column} <> ''"
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %(most)s",
            source.values | wanted.values | where.values | {"most": most},
        )
    ]


def top_values(
    viewer: Viewer, columns: Sequence[str], match: Match, where: Sql, most: int, *, by_mask: bool
) -> dict[str, dict[str, int]]:
    """The most frequent values of columns of text.

    `by_mask` says that nothing but bits of the mask was chosen: then an index by each column holds all that is asked. Else the
    documents are read once for all columns, because documents alike in one of them are mostly alike in another.
    """
    source, wanted, names = readable(viewer), match.condition, ", ".join(columns)
    matching = f"{source.text} WHERE {wanted.text} AND {where.text}"
    begin, origin, number = "", f"{matching} AND", "count(*)"
    if not by_mask:
        begin = (
            f"WITH d AS MATERIALIZED (SELECT {names}, count(*)::integer AS number FROM {matching} GROUP BY {names}) "
        )
        origin, number = "d WHERE", "sum(d.number)"
    each = (
        f"(SELECT '{column}', d.{column}, {number} FROM {origin} d.{column} <> '' GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT %(most)s)"
        for column in columns
    )
    found: dict[str, dict[str, int]] = {column: {} for column in columns}
    values = source.values | wanted.values | where.values | {"most": most}
    for column, value, count_of_it in rows(begin + " UNION ALL ".join(each), values):
        found[column][value] = count_of_it
    return found


def sums(viewer: Viewer) -> tuple[int, int, int]:
    """How many servers and tools there are, and how many sources list some of them. A source's name is unique for its owner."""
    source = readable(viewer)
    servers, tools, sources = rows(
        "SELECT coalesce(sum(servers), 0), coalesce(sum(tools), 0), count(*) FILTER (WHERE repository <> '') FROM ("
        "SELECT d.repository, d.owner_tenant_id, count(*) AS servers, sum(d.tool_count) AS tools"
        f" FROM {source.text} GROUP BY 1, 2) t",
        source.values,
    )[0]
    return int(servers), int(tools), int(sources)


def all_of(parts: Iterable[Sql]) -> Sql:
    found = list(parts)
    values: dict[str, Any] = {}
    for part in found:
        values |= part.values
    return Sql(" AND ".join(f"({part.text})" for part in found) or "TRUE", values)


def unknown_words(viewer: Viewer, terms: Iterable[Term], table: str = SERVERS) -> list[str]:
    """Which words are in no document that this viewer may see."""
    source = readable(viewer, table)
    asked = {term.word: term.tsquery for term in terms}
    found_rows = rows(
        "SELECT word FROM unnest(%(asked)s::text[], %(queries)s::text[]) AS t (word, query)"
        f" WHERE NOT EXISTS (SELECT FROM {source.text} WHERE d.words @@ to_tsquery('english', t.query))",
        source.values | {"asked": list(asked), "queries": list(asked.values())},
    )
    return [row[0] for row in found_rows]


def similar_words(words: Sequence[str]) -> Mapping[str, list[str]]:
    """Words of public documents that are a few letters away from these, the nearest and most used first.

    The distance is asked of every word of a near length: with tens of thousands of words that is several times faster than their
    trigrams, and finds swapped letters, which have few trigrams in common.
    """
    found: dict[str, list[str]] = {}
    for word, similar in rows(
        "SELECT t.word, s.word FROM unnest(%(words)s::text[], %(most)s::integer[]) AS t (word, most) CROSS JOIN LATERAL ("
        "SELECT w.word FROM public.catalog_searchword w WHERE length(w.word) BETWEEN length(t.word) - t.most"
        " AND length(t.word) + t.most AND public.levenshtein_less_equal(w.word, t.word, t.most) <= t.most"
        " ORDER BY public.levenshtein(w.word, t.word), w.documents DESC, w.word LIMIT 40) s",
        # A swap of two letters is one slip and two changes.
        {"words": list(words), "most": [wording.slips_allowed(word) + 1 for word in words]},
    ):
        found.setdefault(word, []).append(similar)
    return found


def tags_beginning(text: str, most: int) -> list[str]:
    """Tags of public servers that begin like this, the most used first."""
    pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    found_rows = rows(
        "SELECT tag FROM public.catalog_searchtag WHERE tag LIKE %(pattern)s ORDER BY documents DESC, tag LIMIT %(most)s",
        {"pattern": pattern, "most": most},
    )
    return [row[0] for row in found_rows]


def rows(statement: str, values: Mapping[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()
