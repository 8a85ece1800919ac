"""What search knows of all documents together, and the documents of many servers that come at once.

Documents are kept by triggers. A long import puts those of its servers off (`Builder`) and makes them on a connection of its own
while it goes on; which servers wait for theirs is stored with them, so that none is forgotten when an import breaks off.

The words for mistyped ones and the tags for suggestions follow within minutes: a table that every listing writes would make
writers wait for each other. Only public documents count, so that nothing of an organisation can be learnt from a correction.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from django.db import DatabaseError, connection, transaction

from core import bulk
from tenants.context import platform_scope

log = logging.getLogger(__name__)

SERVERS_AT_ONCE = 500

# Letters and digits of a length that can be mistyped; longer "words" are identifiers that nobody types.
_WORDS = """
WITH texts AS (
    SELECT s.id, public.catalog_name_words(concat_ws(' ', s.name, s.slug,
        public.catalog_own_words(s.registry_name), array_to_string(s.tags, ' '),
        s.publisher_name, p.name, t.names))
        || ' ' || public.catalog_text_words(concat_ws(' ', s.summary, s.description), 1000) AS text
    FROM public.catalog_searchdocument_public d
    JOIN public.catalog_server s ON s.id = d.server_id
    LEFT JOIN public.catalog_provider p ON p.id = s.provider_id
    LEFT JOIN (
        SELECT server_id, string_agg(name, ' ') AS names FROM public.catalog_tooldocument_public GROUP BY server_id
    ) t ON t.server_id = s.id
), fresh AS MATERIALIZED (
    SELECT lexeme AS word, count(*)::integer AS documents
    FROM texts, unnest(to_tsvector('simple', text)) WHERE lexeme ~ '^[[:alnum:]]{4,30}$' GROUP BY lexeme
), gone AS (
    DELETE FROM public.catalog_searchword w WHERE NOT EXISTS (SELECT FROM fresh f WHERE f.word = w.word)
)
INSERT INTO public.catalog_searchword AS w (word, documents) SELECT word, documents FROM fresh ORDER BY word
ON CONFLICT (word) DO UPDATE SET documents = excluded.documents WHERE w.documents <> excluded.documents
"""
_TAGS = """
WITH fresh AS MATERIALIZED (
    SELECT lower(tag) AS tag, count(*)::integer AS documents
    FROM public.catalog_searchdocument_public, unnest(tags) AS tag GROUP BY 1
), gone AS (
    DELETE FROM public.catalog_searchtag w WHERE NOT EXISTS (SELECT FROM fresh f WHERE f.tag = w.tag)
)
INSERT INTO public.catalog_searchtag AS w (tag, documents) SELECT tag, documents FROM fresh ORDER BY tag
ON CONFLICT (tag) DO UPDATE SET documents = excluded.documents WHERE w.documents <> excluded.documents
"""
# One run at a time; a second has nothing to add.
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('catalog_searchword'))"


def refresh_words() -> None:
    """Let corrections and suggestions know the words and tags of the present public documents."""
    with platform_scope(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK)
        row = cursor.fetchone()
        if row is not None and row[0]:
            cursor.execute(_WORDS)
            cursor.execute(_TAGS)


def build_documents() -> None:
    """Make the documents that were put off, but for those of servers that another transaction is changing right now."""
    made = 1
    while made:
        with platform_scope(), transaction.atomic(), connection.cursor() as cursor:
            bulk.commit_without_waiting()
            cursor.execute("SELECT public.catalog_build_documents(%s)", [SERVERS_AT_ONCE])
            made = cursor.fetchone()[0]


class Builder:
    """Makes documents that transactions put off while the caller goes on; all of them are there when the block is left.

    Inside of a transaction nothing is put off: whoever opened it relies on what it sees.
    """

    def __init__(self) -> None:
        self._may_put_off = not connection.in_atomic_block
        self._waits = False
        self._pool: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if error is None:
            build_documents()  # with the thread, each of them some
        self._pool.shutdown()
        if error is None:
            build_documents()  # what the thread could not make

    def put_off(self) -> None:
        """Of servers that come in the present transaction, which need not wait for the disk: it is done again if it is lost."""
        if self._may_put_off:
            bulk.commit_without_waiting()
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('marketplace.documents', 'later', true)")
            self._waits = True

    def build(self) -> None:
        """To be called after the commit. Waits for the documents of the transaction before, so that few are ever missing."""
        if not self._waits:
            return
        if self._running is not None:
            self._running.result()
        self._pool = self._pool or ThreadPoolExecutor(1, "documents")
        self._running, self._waits = self._pool.submit(_build_apart), False


def _build_apart() -> None:
    try:
        build_documents()
    except DatabaseError:
        log.warning("documents are made later", exc_info=True)
    finally:
        connection.close()
