"""What search knows of all documents together: the words for mistyped ones, and the tags for suggestions.

Only public documents count, so that nothing of an organisation can be learnt from a correction. The documents themselves are kept
by triggers; these two tables follow within minutes: a table that every listing writes would make writers wait for each other.
"""

from __future__ import annotations

from django.db import connection, transaction

from tenants.context import platform_scope

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
