"""Search documents of many servers that come at once are made after them, by whoever brought them, on a connection of its own.

A server that waits for its documents is in `catalog_searchpending`, written in the transaction that brought it. It is not found until
then; documents that are there are never put off, so that a listing that ceases to be public leaves search in the same transaction.

Documents cost less too: texts are read once, and rows that triggers keep need no foreign key to be looked up for each of them.
"""

from importlib import import_module

from django.db import migrations

search = import_module("catalog.migrations.0009_search")

PENDING = """
CREATE TABLE public.catalog_searchpending (server_id uuid PRIMARY KEY);

ALTER TABLE public.catalog_searchdocument DROP CONSTRAINT catalog_searchdocument_server_id_fkey;
ALTER TABLE public.catalog_tooldocument DROP CONSTRAINT catalog_tooldocument_server_id_fkey;
CREATE FUNCTION public.catalog_server_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.catalog_searchdocument WHERE server_id IN (SELECT id FROM gone);
    DELETE FROM public.catalog_tooldocument WHERE server_id IN (SELECT id FROM gone);
    DELETE FROM public.catalog_searchpending WHERE server_id IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
CREATE TRIGGER catalog_server_documents_delete AFTER DELETE ON public.catalog_server
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_server_deleted();

CREATE OR REPLACE FUNCTION public.catalog_server_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('marketplace.documents', true) = 'later' THEN
        INSERT INTO public.catalog_searchpending SELECT id FROM inserted;
    ELSE
        PERFORM public.catalog_refresh_documents(array_agg(id), true) FROM inserted HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;

-- Who is changing a server keeps it: waiting for one another could never end. Once locked, a row is what it is for everybody.
CREATE FUNCTION public.catalog_build_documents(most integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE ids uuid[];
BEGIN
    SELECT array_agg(id) INTO ids FROM (
        SELECT s.id FROM public.catalog_searchpending p JOIN public.catalog_server s ON s.id = p.server_id
        LIMIT most FOR NO KEY UPDATE OF s SKIP LOCKED
    ) locked;
    IF ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM public.catalog_refresh_documents(ids);
    DELETE FROM public.catalog_searchpending WHERE server_id = ANY(ids);
    RETURN cardinality(ids);
END $$;
"""
NOTHING_PENDING = """
SELECT set_config('marketplace.viewer', 'platform', true);
SELECT public.catalog_build_documents(2147483647);
DROP FUNCTION public.catalog_build_documents;
CREATE OR REPLACE FUNCTION public.catalog_server_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.catalog_refresh_documents(array_agg(id), true) FROM inserted HAVING count(*) > 0;
    RETURN NULL;
END $$;
DROP TRIGGER catalog_server_documents_delete ON public.catalog_server;
DROP FUNCTION public.catalog_server_deleted();
ALTER TABLE public.catalog_tooldocument ADD CONSTRAINT catalog_tooldocument_server_id_fkey
    FOREIGN KEY (server_id) REFERENCES public.catalog_server (id) ON DELETE CASCADE;
ALTER TABLE public.catalog_searchdocument ADD CONSTRAINT catalog_searchdocument_server_id_fkey
    FOREIGN KEY (server_id) REFERENCES public.catalog_server (id) ON DELETE CASCADE;
DROP TABLE public.catalog_searchpending;
"""


def function(name: str) -> str:
    """The definition of a function as the earlier migration made it."""
    return next(part for part in search.FUNCTIONS.split("CREATE FUNCTION public.") if part.startswith(f"{name}("))


# What tools are called in twice as many words only where a capital inside of a name makes them two.
TOOL_WORDS = """
CREATE FUNCTION public.catalog_tool_words(given text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN given ~ '[a-z0-9][A-Z]' THEN public.catalog_name_words(given)
        ELSE translate(given, '_-/.:@#', '       ') END
$$;
"""
OLD_NAMES, NEW_NAMES = (
    "public.catalog_name_words(coalesce(t.names, ''))",
    "public.catalog_tool_words(coalesce(t.names, ''))",
)
OLD_TOOL, NEW_TOOL = (
    "public.catalog_name_words(o.name || ' ' || o.title)",
    "public.catalog_tool_words(o.name || ' ' || o.title)",
)
# A summary is mostly the beginning of the description.
OLD_TEXT, NEW_TEXT = (
    "concat_ws(' ', s.summary, left(s.description, 2000), t.texts)",
    "concat_ws(' ', CASE WHEN starts_with(s.description, s.summary) THEN '' ELSE s.summary END,"
    " left(s.description, 2000), t.texts)",
)
DOCUMENTS = function("catalog_refresh_documents")
CHEAPER = DOCUMENTS.replace(OLD_NAMES, NEW_NAMES).replace(OLD_TOOL, NEW_TOOL).replace(OLD_TEXT, NEW_TEXT)
REPLACE = "CREATE OR REPLACE FUNCTION public."

# A plan for a table of changed rows is kept from the first call, when it held few: keys are gathered first, or it is planned each time.
VERSIONS = """
CREATE OR REPLACE FUNCTION public.catalog_versions_change_entries() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE ids uuid[];
BEGIN
    SELECT array_agg(DISTINCT server_id) INTO ids FROM changed;
    UPDATE public.catalog_server SET entry_changed_at = clock_timestamp() WHERE id = ANY(ids) AND entry_changed_at < now();
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION public.catalog_tools_inserted() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE ids uuid[];
BEGIN
    SELECT array_agg(DISTINCT version_id) INTO ids FROM inserted;
    PERFORM public.catalog_refresh_documents(array_agg(s.id)) FROM public.catalog_server s
    WHERE s.current_version_id = ANY(ids) HAVING count(*) > 0;
    RETURN NULL;
END $$;
"""
registry = import_module("catalog.migrations.0013_registry_order")
EARLIER_VERSIONS = (
    "CREATE OR REPLACE FUNCTION public."
    + registry.CHANGES.split("CREATE FUNCTION public.")[2].partition("CREATE TRIGGER")[0]
    + "CREATE OR REPLACE FUNCTION public."
)
CHANGED = (
    "SELECT array_agg(n.id) INTO ids FROM after_it",
    "EXECUTE $changed$ SELECT array_agg(n.id) FROM after_it",
)
CHANGED_END = ("o.content_updated_at);", "o.content_updated_at) $changed$ INTO ids;")

# What the front page shows of everything, without reading everything.
SORTED = """
CREATE INDEX catalog_searchdocument_popular ON public.catalog_searchdocument_public
    (popularity DESC, name_key, server_id);
CREATE INDEX catalog_searchdocument_changed ON public.catalog_searchdocument_public
    (changed_at DESC NULLS LAST, name_key, server_id);
"""
NOT_SORTED = "DROP INDEX public.catalog_searchdocument_changed, public.catalog_searchdocument_popular;"


class Migration(migrations.Migration):
    dependencies = [("catalog", "0015_popularity")]
    operations = [
        migrations.RunSQL(PENDING, NOTHING_PENDING),
        migrations.RunSQL(SORTED, NOT_SORTED),
        migrations.RunSQL(VERSIONS, EARLIER_VERSIONS + function("catalog_tools_inserted")),
        migrations.RunSQL(
            REPLACE
            + function("catalog_server_updated").replace(*CHANGED).replace(*CHANGED_END).partition("-- Tools")[0],
            REPLACE + function("catalog_server_updated"),
        ),
        migrations.RunSQL(
            f"{TOOL_WORDS}{REPLACE}{CHEAPER}",
            f"{REPLACE}{DOCUMENTS} DROP FUNCTION public.catalog_tool_words;",
        ),
    ]
