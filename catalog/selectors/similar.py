"""Servers like one server: those whose names and tags share its telling words, as far as the viewer may see them.

Nothing of who uses what goes into it, because one organisation's calls are no other organisation's business.
"""

from __future__ import annotations

from catalog import wording
from catalog.models import Server
from catalog.selectors import documents, search
from catalog.types import Viewer

MOST = 4
# The rarest words say most of a server, and few words keep the reading short in a catalog of any size.
_WORDS_MAX = 4
# Words of so many servers tell nothing of one.
_COMMON = 3_000
_TAGS_MAX = 8


def servers_like(viewer: Viewer, server: Server, most: int = MOST) -> list[Server]:
    """The nearest first. Of one category before others, because a word can mean two things."""
    terms = wording.terms_of(" ".join([server.name, *server.tags[:_TAGS_MAX]]))
    words = _telling([term.word for term in terms])
    if not words:
        return []
    source = documents.readable(viewer)
    category = documents.BITS["category"].get(server.category, 0)
    found = documents.rows(
        f"SELECT d.server_id FROM {source.text}, to_tsquery('english', %(wanted)s) AS q"  # noqa: S608 - parts of ours
        " WHERE d.words @@ q AND d.server_id <> %(itself)s::uuid"
        " ORDER BY (d.mask & %(category)s <> 0) DESC,"
        f" ts_rank('{documents.WEIGHTS}', d.words, q, 1) * (1 + d.weight) DESC, d.popularity DESC, d.name_key, d.server_id"
        " LIMIT %(most)s",
        source.values
        | {
            "wanted": " | ".join(f"{word}:AB" for word in words),
            "itself": server.pk,
            "category": category,
            "most": most,
        },
    )
    return search.load(viewer, [row[0] for row in found])


def _telling(words: list[str]) -> list[str]:
    """The words that fewest public servers have, but for those that nearly all have. One that is not counted yet is rare."""
    counted = dict(
        documents.rows(
            "SELECT word, documents FROM public.catalog_searchword WHERE word = ANY(%(words)s)", {"words": words}
        )
    )
    telling = (word for word in words if counted.get(word, 0) <= _COMMON)
    return sorted(telling, key=lambda word: counted.get(word, 0))[:_WORDS_MAX]
