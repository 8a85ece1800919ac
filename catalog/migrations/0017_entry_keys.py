"""The keys by which entries of sources are recognised, each in a row of its own.

Overlapping arrays are no leakproof operator, so the table's row policy kept its index from being used: every batch of an import
read all entries. Equality is leakproof, and only the platform recognises entries.
"""

import django.contrib.postgres.fields
from django.db import migrations, models

KEYS = """
CREATE TABLE public.catalog_entrykey (
    key text COLLATE "C" NOT NULL,
    entry_id uuid NOT NULL,
    PRIMARY KEY (key, entry_id)
);
CREATE INDEX catalog_entrykey_entry ON public.catalog_entrykey (entry_id);
ALTER TABLE public.catalog_entrykey ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.catalog_entrykey FORCE ROW LEVEL SECURITY;
CREATE POLICY catalog_entrykey_platform ON public.catalog_entrykey
    USING (current_setting('marketplace.viewer', true) = 'platform');

CREATE FUNCTION public.catalog_entries_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.catalog_entrykey (key, entry_id) SELECT DISTINCT k, e.id FROM came e, unnest(e.identity) AS k;
    RETURN NULL;
END $$;
CREATE FUNCTION public.catalog_entries_updated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE ids uuid[];
BEGIN
    -- Planned each time: a plan that is kept would be that of the first call, when few rows changed.
    EXECUTE 'SELECT array_agg(n.id) FROM after_it n JOIN before_it o USING (id)'
        ' WHERE n.identity IS DISTINCT FROM o.identity' INTO ids;
    IF ids IS NOT NULL THEN
        DELETE FROM public.catalog_entrykey WHERE entry_id = ANY(ids);
        INSERT INTO public.catalog_entrykey (key, entry_id)
        SELECT DISTINCT k, e.id FROM after_it e, unnest(e.identity) AS k WHERE e.id = ANY(ids);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION public.catalog_entries_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.catalog_entrykey WHERE entry_id IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
CREATE TRIGGER catalog_entry_keys_insert AFTER INSERT ON public.catalog_sourceentry
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_entries_inserted();
CREATE TRIGGER catalog_entry_keys_update AFTER UPDATE ON public.catalog_sourceentry
    REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
    FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_entries_updated();
CREATE TRIGGER catalog_entry_keys_delete AFTER DELETE ON public.catalog_sourceentry
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_entries_deleted();

SELECT set_config('marketplace.viewer', 'platform', true);
INSERT INTO public.catalog_entrykey (key, entry_id)
SELECT DISTINCT k, e.id FROM public.catalog_sourceentry e, unnest(e.identity) AS k;
SELECT set_config('marketplace.viewer', '', true);
"""
NO_KEYS = """
DROP TRIGGER catalog_entry_keys_delete ON public.catalog_sourceentry;
DROP TRIGGER catalog_entry_keys_update ON public.catalog_sourceentry;
DROP TRIGGER catalog_entry_keys_insert ON public.catalog_sourceentry;
DROP FUNCTION public.catalog_entries_deleted(), public.catalog_entries_updated(), public.catalog_entries_inserted();
DROP TABLE public.catalog_entrykey;
"""


class Migration(migrations.Migration):
    dependencies = [("catalog", "0016_documents_later")]
    operations = [
        migrations.RunSQL(KEYS, NO_KEYS),
        migrations.RemoveIndex(model_name="sourceentry", name="source_entry_identity"),
        migrations.AlterField(
            model_name="sourceentry",
            name="identity",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=64),
                default=list,
                help_text="Digests by which duplicates are found; triggers keep a row for each.",
                size=None,
            ),
        ),
    ]
