"""The search documents of the catalog, asked in SQL: who may see which, what matches, how it is counted and ordered.

A document is made of its server by the triggers of `catalog/migrations/*_search.py`. Documents of what everybody may see and all
others are in partitions of their own, and the parts are asked by name. That is what makes search fast behind row policies:
Postgres uses no text index on a guarded table, because the operators of full text are not leakproof, and there is nothing to
guard in what everybody may see. The other part is guarded, and small for each organisation.

`readable` says in SQL what `selectors.listing.visible_to` says for servers; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from catalog import wording
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


class Group(NamedTuple):
    """Servers that no facet tells apart, and how many they are. `facts` are values by facet, written by the trigger."""

    facts: str
    health: str
    usable: bool
    ours: bool
    team: UUID | None
    repository: str
    number: int


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


def groups(viewer: Viewer, usable: Iterable[UUID], match: Match, also: Sql, fresh_since: datetime) -> list[Group]:
    """Everything that matches, counted by what facets ask for."""
    source, wanted, health = readable(viewer), match.condition, health_as_of(fresh_since)
    found_rows = rows(
        f"SELECT d.facts, {health.text}, d.server_id = ANY(%(usable)s::uuid[]),"
        " coalesce(d.owner_tenant_id = %(ours)s::uuid, FALSE) AS ours,"
        " CASE WHEN d.owner_tenant_id = %(ours)s::uuid THEN d.owner_team_id END, d.repository, count(*)"
        f" FROM {source.text} WHERE {wanted.text} AND {also.text} GROUP BY 1, 2, 3, 4, 5, 6",
        {"usable": list(usable), "ours": viewer.tenant_id}
        | source.values | wanted.values | health.values | also.values,
    )  # fmt: skip
    return [Group(*row) for row in found_rows]


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


def similar_words(words: Iterable[str]) -> Mapping[str, list[str]]:
    """Words of public documents that look like these, the most similar and most used first."""
    found: dict[str, list[str]] = {}
    found_rows = rows(
        "SELECT t.word, s.word FROM unnest(%(words)s::text[]) AS t (word), public.catalog_similar_words(t.word) s",
        {"words": list(words)},
    )
    for word, similar in found_rows:
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
