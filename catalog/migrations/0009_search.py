"""Search: a document for each server and for each tool of its current version, kept by triggers.

Documents of what everybody may see are in one partition, all others in another. Postgres uses no text index on a table with a row
policy, because `@@` is not leakproof: with one guarded table every search would read all of it. The public partition needs no
policy, since a row can be there only when everybody may see its server; a search names the partitions (catalog/selectors/documents.py).

Triggers, and not services, keep the documents: whoever changes a server, in whatever way, a listing that ceases to be public leaves the
public partition in the same transaction.
"""

from django.db import migrations

VIEWER = "current_setting('marketplace.viewer', true)"
OWN = f"({VIEWER} = 'platform' OR owner_tenant_id::text = {VIEWER})"
# What of a row says who may see it.
ACCESS = """
    server_id uuid NOT NULL REFERENCES public.catalog_server (id) ON DELETE CASCADE,
    is_public boolean NOT NULL,
    owner_tenant_id uuid,
    owner_team_id uuid,
    visibility text NOT NULL,
    allowed_teams uuid[] NOT NULL,
    status text NOT NULL,
"""
TABLES = {
    "catalog_searchdocument": """
    slug text NOT NULL,
    name_key text COLLATE "C" NOT NULL,
    mask bigint NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    publisher text COLLATE "C" NOT NULL,
    repository text COLLATE "C" NOT NULL,
    tags text[] NOT NULL,
    health text NOT NULL,
    health_checked_at timestamptz,
    popularity real NOT NULL,
    weight real NOT NULL,
    changed_at timestamptz,
    tool_count integer NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (server_id, is_public)""",
    "catalog_tooldocument": """
    tool_id uuid NOT NULL,
    name text NOT NULL,
    name_key text COLLATE "C" NOT NULL,
    facts text COLLATE "C" NOT NULL,
    popularity real NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (tool_id, is_public)""",
}


def partitioned(table: str, columns: str, index: str = "") -> str:
    """Rows of the two partitions differ in who reads them; writing goes by way of the parent and its policies."""
    return f"""
CREATE TABLE public.{table} ({ACCESS}{columns}
) PARTITION BY LIST (is_public);
CREATE TABLE public.{table}_public PARTITION OF public.{table} FOR VALUES IN (true) WITH (fillfactor = 85);
CREATE TABLE public.{table}_private PARTITION OF public.{table} FOR VALUES IN (false) WITH (fillfactor = 85);
ALTER TABLE public.{table}_public ADD CONSTRAINT {table}_public_is_public
    CHECK (visibility = 'public' AND status IN ('listed', 'approved', 'deprecated'));
CREATE INDEX {table}_words ON public.{table} USING gin (words) WITH (gin_pending_list_limit = 1024);
{index}CREATE INDEX {table}_owner ON public.{table}_private (owner_tenant_id);
CREATE INDEX {table}_name ON public.{table}_public (name_key);
ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.{table} FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_read ON public.{table} FOR SELECT USING (is_public OR {OWN});
CREATE POLICY {table}_insert ON public.{table} FOR INSERT WITH CHECK ({OWN});
CREATE POLICY {table}_update ON public.{table} FOR UPDATE USING ({OWN});
CREATE POLICY {table}_delete ON public.{table} FOR DELETE USING ({OWN});
ALTER TABLE public.{table}_private ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.{table}_private FORCE ROW LEVEL SECURITY;
CREATE POLICY {table}_private_read ON public.{table}_private FOR SELECT USING ({OWN});
"""


TOOLS_OF_A_SERVER = "CREATE INDEX catalog_tooldocument_server ON public.catalog_tooldocument (server_id);\n"

# One bit for each value of a facet, at the places that `catalog.selectors.documents.BITS` names.
MASK = """(
    coalesce(1::bigint << (array_position(ARRAY['development', 'data', 'ai-ml', 'security', 'productivity'], s.category::text) - 1), 0)
    | (1::bigint << (coalesce(array_position(ARRAY['low', 'medium', 'high'], s.required_trust::text), 4) + 7))
    | (1::bigint << (coalesce(array_position(ARRAY['none', 'header', 'oauth', 'mtls'], s.auth_mode::text), 5) + 11))
    | coalesce(1::bigint << (array_position(ARRAY['allow-list', 'observe'], s.policy_mode::text) + 16), 0)
    | coalesce(1::bigint << (array_position(ARRAY['streamable-http', 'sse', 'stdio'], s.transport::text) + 18), 0)
    | CASE WHEN {callable} THEN 1::bigint << 22 ELSE 1::bigint << 23 END
    | CASE WHEN {callable} AND t.undeclared = 0 THEN 1::bigint << 24 ELSE 1::bigint << 25 END
    | CASE WHEN {tools} > 0 THEN 1::bigint << 26 ELSE 0 END
    | CASE WHEN {resources} > 0 THEN 1::bigint << 27 ELSE 0 END
    | CASE WHEN {prompts} > 0 THEN 1::bigint << 28 ELSE 0 END
    | CASE WHEN s.has_tasks THEN 1::bigint << 29 ELSE 0 END
    | (1::bigint << (coalesce(array_position(ARRAY['official', 'http', 'github', 'docker', 'local'], s.source_kind::text), 0) + 30))
    | coalesce(1::bigint << (array_position(ARRAY['enterprise', 'verified', 'community'], s.source_trust::text) + 35), 0)
    | CASE WHEN s.is_verified THEN 1::bigint << 39 ELSE 1::bigint << 40 END
    | CASE WHEN s.is_featured THEN 1::bigint << 41 ELSE 0 END
    | coalesce(1::bigint << (array_position(ARRAY['tenant', 'group', 'org', 'public'], s.visibility::text) + 41), 0)
    | CASE WHEN 'npm' = ANY(s.package_types) THEN 1::bigint << 46 ELSE 0 END
    | CASE WHEN 'pypi' = ANY(s.package_types) THEN 1::bigint << 47 ELSE 0 END
    | CASE WHEN 'oci' = ANY(s.package_types) THEN 1::bigint << 48 ELSE 0 END
    | CASE WHEN 'mcpb' = ANY(s.package_types) THEN 1::bigint << 49 ELSE 0 END
    | CASE WHEN 'nuget' = ANY(s.package_types) THEN 1::bigint << 50 ELSE 0 END
    | CASE WHEN 'cargo' = ANY(s.package_types) THEN 1::bigint << 51 ELSE 0 END
    | CASE WHEN 'binary' = ANY(s.package_types) THEN 1::bigint << 52 ELSE 0 END)"""
CALLABLE = (
    "(s.status IN ('approved', 'deprecated') AND s.gateway_enabled AND s.url <> '' AND coalesce(v.protocol, '') <> '')"
)
COUNTS = {
    "tools": "coalesce(s.tool_count, v.tool_count, 0)",
    "resources": "coalesce(s.resource_count, v.resource_count, 0)",
    "prompts": "coalesce(s.prompt_count, v.prompt_count, 0)",
}
PUBLIC = "s.visibility = 'public' AND s.status IN ('listed', 'approved', 'deprecated')"
POPULARITY = "ln(1 + 20.0 * s.calls_30d + 5.0 * s.installs + 0.01 * coalesce(s.downloads, 0))"
FUNCTIONS = f"""
-- Names as words: "listInvoices" and "list_invoices" are found by "invoices", and "GitHub" by "github".
CREATE FUNCTION public.catalog_name_words(given text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT translate(given || ' ' || regexp_replace(given, '([a-z0-9])([A-Z])', '\\1 \\2', 'g'), '_-/.:@#', '       ')
$$;

-- Of a name in registries what is somebody's own: that it is at io.github says nothing of a server.
CREATE FUNCTION public.catalog_own_words(given text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(given, '^(io[.]github|io[.]gitlab|[a-z]+)[.]', '')
$$;

CREATE FUNCTION public.catalog_text_words(given text, most integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT translate(left(given, most), '_-/.:@#', '       ')
$$;

-- Every table is reached by its key: statistics of a table that is just being filled would have it read whole.
CREATE FUNCTION public.catalog_refresh_documents(ids uuid[], is_first boolean DEFAULT false) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off SET enable_material = off AS $$
BEGIN
    IF NOT is_first THEN
        DELETE FROM public.catalog_searchdocument WHERE server_id = ANY(ids);
        DELETE FROM public.catalog_tooldocument WHERE server_id = ANY(ids);
    END IF;
    INSERT INTO public.catalog_searchdocument
    SELECT s.id, {PUBLIC}, s.owner_tenant_id, s.owner_team_id, s.visibility, s.allowed_teams, s.status,
        s.slug, lower(s.name), {MASK.format(callable=CALLABLE, **COUNTS)},
        CASE WHEN s.registry_name <> '' THEN split_part(s.registry_name, '/', 1) ELSE coalesce(p.slug, '') END,
        coalesce(p.name, nullif(s.publisher_name, ''), nullif(split_part(s.registry_name, '/', 1), ''), s.source_name),
        s.source_name, s.tags, s.health, s.health_checked_at,
        {POPULARITY},
        CASE WHEN s.is_verified THEN 0.15 ELSE 0 END + CASE WHEN {CALLABLE} THEN 0.15 ELSE 0 END
            + least({POPULARITY}, 20) / 40,
        coalesce(s.content_updated_at, v.created_at, s.updated_at), {COUNTS["tools"]},
        setweight(to_tsvector('english', public.catalog_name_words(
            s.name || ' ' || s.slug || ' ' || public.catalog_own_words(s.registry_name))), 'A')
        || setweight(to_tsvector('english', public.catalog_name_words(
            concat_ws(' ', array_to_string(s.tags, ' '), s.category, s.publisher_name, p.name))), 'B')
        || setweight(to_tsvector('english', public.catalog_name_words(coalesce(t.names, ''))), 'C')
        || to_tsvector('english', public.catalog_text_words(
            concat_ws(' ', s.summary, left(s.description, 2000), t.texts), 8000))
    FROM public.catalog_server s
    LEFT JOIN public.catalog_serverversion v ON v.id = s.current_version_id
    LEFT JOIN public.catalog_provider p ON p.id = s.provider_id
    LEFT JOIN LATERAL (
        SELECT string_agg(o.name || ' ' || o.title, ' ') AS names, string_agg(left(o.description, 100), ' ') AS texts,
            count(*) FILTER (WHERE o.side_effect = '') AS undeclared
        FROM public.catalog_tool o WHERE o.version_id = s.current_version_id
    ) t ON TRUE
    WHERE s.id = ANY(ids);
    INSERT INTO public.catalog_tooldocument
    SELECT s.id, {PUBLIC}, s.owner_tenant_id, s.owner_team_id, s.visibility, s.allowed_teams, s.status,
        o.id, o.name, lower(o.name), concat_ws('|', o.side_effect, o.required_trust, o.seen), {POPULARITY},
        setweight(to_tsvector('english', public.catalog_name_words(o.name || ' ' || o.title)), 'A')
        || n.words || to_tsvector('english', public.catalog_text_words(o.description, 500))
    FROM public.catalog_server s
    CROSS JOIN LATERAL (
        SELECT setweight(to_tsvector('english', public.catalog_name_words(s.name)), 'C') AS words OFFSET 0
    ) n
    JOIN public.catalog_tool o ON o.version_id = s.current_version_id
    WHERE s.id = ANY(ids);
END $$;

CREATE FUNCTION public.catalog_server_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.catalog_refresh_documents(array_agg(id), true) FROM inserted HAVING count(*) > 0;
    RETURN NULL;
END $$;

-- A health check or a count changes two columns in place; everything else makes the documents anew.
CREATE FUNCTION public.catalog_server_updated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE ids uuid[];
BEGIN
    SELECT array_agg(n.id) INTO ids FROM after_it n JOIN before_it o USING (id)
    WHERE (n.name, n.slug, n.registry_name, n.summary, n.description, n.tags, n.category, n.publisher_name, n.provider_id,
           n.owner_tenant_id, n.owner_team_id, n.visibility, n.allowed_teams, n.status, n.current_version_id,
           n.required_trust, n.auth_mode, n.policy_mode, n.transport, n.gateway_enabled, n.url = '', n.origin,
           n.tool_count, n.resource_count, n.prompt_count, n.has_tasks, n.source_kind, n.source_trust, n.source_name,
           n.is_verified, n.is_featured, n.package_types, n.content_updated_at)
        IS DISTINCT FROM
          (o.name, o.slug, o.registry_name, o.summary, o.description, o.tags, o.category, o.publisher_name, o.provider_id,
           o.owner_tenant_id, o.owner_team_id, o.visibility, o.allowed_teams, o.status, o.current_version_id,
           o.required_trust, o.auth_mode, o.policy_mode, o.transport, o.gateway_enabled, o.url = '', o.origin,
           o.tool_count, o.resource_count, o.prompt_count, o.has_tasks, o.source_kind, o.source_trust, o.source_name,
           o.is_verified, o.is_featured, o.package_types, o.content_updated_at);
    IF ids IS NOT NULL THEN
        PERFORM public.catalog_refresh_documents(ids);
    END IF;
    UPDATE public.catalog_searchdocument d
    SET health = n.health, health_checked_at = n.health_checked_at,
        popularity = {POPULARITY.replace("s.", "n.")}
    FROM after_it n JOIN before_it o USING (id)
    WHERE d.server_id = n.id AND (ids IS NULL OR n.id <> ALL(ids))
        AND (n.health, n.health_checked_at, n.calls_30d, n.installs, n.downloads)
            IS DISTINCT FROM (o.health, o.health_checked_at, o.calls_30d, o.installs, o.downloads);
    RETURN NULL;
END $$;

-- Tools may be written after their version became the current one.
CREATE FUNCTION public.catalog_tools_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.catalog_refresh_documents(array_agg(s.id)) FROM public.catalog_server s
    WHERE s.current_version_id IN (SELECT version_id FROM inserted) HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION public.catalog_provider_renamed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.catalog_refresh_documents(array_agg(s.id)) FROM public.catalog_server s
    WHERE s.provider_id = NEW.id HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE TRIGGER catalog_server_documents_insert AFTER INSERT ON public.catalog_server
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_server_inserted();
CREATE TRIGGER catalog_server_documents_update AFTER UPDATE ON public.catalog_server
    REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
    FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_server_updated();
CREATE TRIGGER catalog_tool_documents_insert AFTER INSERT ON public.catalog_tool
    REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_tools_inserted();
CREATE TRIGGER catalog_provider_documents AFTER UPDATE OF name, slug ON public.catalog_provider
    FOR EACH ROW EXECUTE FUNCTION public.catalog_provider_renamed();
"""
WORDS = """
-- Words and tags of public documents, for what was mistyped and for suggestions. Nothing private is ever among them.
CREATE TABLE public.catalog_searchword (word text COLLATE "C" PRIMARY KEY, documents integer NOT NULL);
CREATE TABLE public.catalog_searchtag (tag text COLLATE "C" PRIMARY KEY, documents integer NOT NULL);
"""
NOTHING_OF_IT = """
DROP TRIGGER catalog_provider_documents ON public.catalog_provider;
DROP TRIGGER catalog_tool_documents_insert ON public.catalog_tool;
DROP TRIGGER catalog_server_documents_update ON public.catalog_server;
DROP TRIGGER catalog_server_documents_insert ON public.catalog_server;
DROP FUNCTION public.catalog_provider_renamed, public.catalog_tools_inserted,
    public.catalog_server_updated, public.catalog_server_inserted, public.catalog_refresh_documents,
    public.catalog_text_words, public.catalog_own_words, public.catalog_name_words;
DROP TABLE public.catalog_searchtag, public.catalog_searchword, public.catalog_tooldocument, public.catalog_searchdocument;
"""
EXISTING = """
SELECT set_config('marketplace.viewer', 'platform', true);
SELECT public.catalog_refresh_documents(array_agg(id)) FROM public.catalog_server HAVING count(*) > 0;
"""


class Migration(migrations.Migration):
    dependencies = [("catalog", "0008_counts")]
    operations = [
        migrations.RunSQL("CREATE EXTENSION IF NOT EXISTS fuzzystrmatch SCHEMA public", migrations.RunSQL.noop),
        migrations.RunSQL(
            partitioned("catalog_searchdocument", TABLES["catalog_searchdocument"])
            + partitioned("catalog_tooldocument", TABLES["catalog_tooldocument"], TOOLS_OF_A_SERVER)
            + FUNCTIONS
            + WORDS,
            NOTHING_OF_IT,
        ),
        migrations.RunSQL(EXISTING, migrations.RunSQL.noop),
    ]
