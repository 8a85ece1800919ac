"""The order of the registry API, and when what it says of a server changed here."""

import core.clock
from django.db import migrations, models

# What the registry API says of a server. Health, counts of calls and addresses are not among it.
COLUMNS = (
    "registry_name slug name summary visibility allowed_teams owner_team_id status badge policy_mode required_trust"
    " gateway_enabled current_version_id upstream_status publisher_name provider_id namespace_proven is_verified source_name"
    " source_trust website_url repository_url icon_url tool_count resource_count prompt_count"
).split()
CHANGES = f"""
CREATE FUNCTION public.catalog_entry_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ({", ".join(f"NEW.{column}" for column in COLUMNS)})
       IS DISTINCT FROM ({", ".join(f"OLD.{column}" for column in COLUMNS)}) THEN
        NEW.entry_changed_at := clock_timestamp();
    ELSE
        NEW.entry_changed_at := greatest(NEW.entry_changed_at, OLD.entry_changed_at);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER catalog_entry_changes BEFORE UPDATE ON public.catalog_server
    FOR EACH ROW EXECUTE FUNCTION public.catalog_entry_changes();

-- Servers that came or changed in the same transaction carry its moment already.
CREATE FUNCTION public.catalog_versions_change_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.catalog_server SET entry_changed_at = clock_timestamp()
    WHERE id IN (SELECT server_id FROM changed) AND entry_changed_at < now();
    RETURN NULL;
END $$;
CREATE TRIGGER catalog_versions_added AFTER INSERT ON public.catalog_serverversion
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_versions_change_entries();
CREATE TRIGGER catalog_versions_changed AFTER UPDATE ON public.catalog_serverversion
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION public.catalog_versions_change_entries();
"""
NO_CHANGES = """
DROP TRIGGER catalog_versions_changed ON public.catalog_serverversion;
DROP TRIGGER catalog_versions_added ON public.catalog_serverversion;
DROP FUNCTION public.catalog_versions_change_entries();
DROP TRIGGER catalog_entry_changes ON public.catalog_server;
DROP FUNCTION public.catalog_entry_changes();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0012_saved_searches"),
        ("tenants", "0006_consent_networks"),
    ]

    operations = [
        migrations.AddField(
            model_name="server",
            name="entry_changed_at",
            field=models.DateTimeField(
                default=core.clock.now,
                editable=False,
                help_text="When what the registry API says of it changed here; kept by triggers.",
            ),
        ),
        migrations.AddIndex(
            model_name="server",
            index=models.Index(fields=["registry_name", "slug", "id"], name="server_registry_order"),
        ),
        migrations.AddIndex(
            model_name="server",
            index=models.Index(fields=["entry_changed_at"], name="server_entry_changed"),
        ),
        migrations.RunSQL(CHANGES, NO_CHANGES),
    ]
